"""Brings the registry up to date with models.yaml. Any process may do it, any number of times."""

import itertools
import logging
from collections.abc import Sequence

from shared import ledger
from shared.api_keys import ApiKey, digest
from shared.errors import BadRequest, JobNotFound, Misconfigured, OfAnotherVersion
from shared.jobs import LoadSpec, ModelSource, Origin
from shared.ledger import Ledger, Seed
from shared.logs import about_job
from shared.registry import Snapshot
from shared.registry.file import Listed, read_models
from shared.sealing import Sealer
from shared.settings import Settings
from shared.sources import url_source

logger = logging.getLogger(__name__)

OPERATOR = ApiKey(tenant="operator", sha256=digest(""))
"""Whose loads they are; no key has this digest, because empty ones are refused."""


def seed_registry(store: Ledger, settings: Settings) -> Snapshot:
    """The registry afterwards. Raises `Misconfigured` for a file that can't be used, `LedgerUnavailable`."""
    models = read_models(settings.models_file)
    known = store.run(ledger.registry(None))
    for spec in _loads(models, known, settings):
        _load(store, settings, spec)
    store.run(ledger.seed([_seed(model, rank, known) for rank, model in enumerate(models)]))
    return store.run(ledger.registry(None))


def _seed(model: Listed, rank: int, known: Snapshot) -> Seed:
    there = known.entries.get(model.entry_id)
    if there is None:
        return Seed(model.name, model.entry_id, model.entry(rank))
    revised = there.model_copy(update={"rank": rank})
    return Seed(model.name, model.entry_id, revised, is_revised=revised != there)


def listed_loads(settings: Settings) -> list[LoadSpec]:
    """Of all that models.yaml names from a hub or a URL. Raises `Misconfigured`."""
    models = read_models(settings.models_file)
    return [_load_spec(model, rank, settings) for rank, model in enumerate(models) if model.path is None]


def _loads(models: Sequence[Listed], known: Snapshot, settings: Settings) -> list[LoadSpec]:
    return [
        _load_spec(model, rank, settings)
        for rank, model in enumerate(models)
        if model.path is None and known.seeded.get(model.name) != model.entry_id
    ]


def _load(store: Ledger, settings: Settings, spec: LoadSpec) -> None:
    """Once at a time, however many processes read the file."""
    for attempt in itertools.count():
        key = f"seed {spec.file_prefix} {attempt}"
        accepted = store.run(ledger.accept(spec, OPERATOR, settings, idempotency_key=key, digest=""))
        if accepted.is_new:
            with about_job(accepted.job_id):
                fields = {"endpoint": spec.kind, "model_id": spec.model_id, "tenant": OPERATOR.tenant}
                logger.info("job accepted", extra=fields)
            return
        if _is_open(store, accepted.job_id):
            return


def _is_open(store: Ledger, job_id: int) -> bool:
    try:
        return not store.run(ledger.read(job_id, None)).state.is_terminal
    except OfAnotherVersion:  # and so it waits for a worker of that
        return True
    except JobNotFound:  # its record has expired
        return False


def source_of(model: Listed, settings: Settings) -> ModelSource:
    """Of a model that is to be loaded. Raises `Misconfigured` for a URL that would not be asked, or whose
    token can't be kept secret here."""
    line = model.line
    if line.hub:
        return ModelSource(origin=Origin.HUB, shown=line.hub)
    try:
        return url_source(line.url or "", Sealer(settings), settings.allow_private_hosts)
    except BadRequest as exc:
        raise Misconfigured(f"{settings.models_file}: {model.name}: {exc.detail}") from exc


def _load_spec(model: Listed, rank: int, settings: Settings) -> LoadSpec:
    line = model.line
    return LoadSpec(
        model_id=line.id,
        model_kind=line.kind,
        source=source_of(model, settings),
        format=line.format,
        revision=line.revision,
        upcast_attention=line.upcast_attention,
        config=line.config,
        rank=rank,
        seeded=True,
        file_prefix=model.entry_id,
        public_url="",
    )
