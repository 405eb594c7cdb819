"""Brings the registry up to date with models.yaml. Any process may do it, any number of times."""

import itertools
import logging

from shared import ledger
from shared.api_keys import ApiKey, digest
from shared.jobs import JobState, LoadSpec, ModelSource, Origin
from shared.ledger import Ledger, Seed
from shared.registry import Snapshot
from shared.registry.file import FileModel, read_models
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
    sealer = Sealer(settings)
    for rank, model in enumerate(models):
        if model.path is None and known.seeded.get(model.name) != model.entry_id:
            _load(store, settings, _load_spec(model, rank, sealer))
    store.run(
        ledger.seed([Seed(each.name, each.entry_id, each.entry(rank)) for rank, each in enumerate(models)])
    )
    return store.run(ledger.registry(None))


def _load(store: Ledger, settings: Settings, spec: LoadSpec) -> None:
    """Once, however many processes read the file; again if it has failed before."""
    for attempt in itertools.count():
        key = f"seed {spec.file_prefix} {attempt}"
        accepted = store.run(ledger.accept(spec, OPERATOR, settings, idempotency_key=key, digest=""))
        if accepted.is_new:
            logger.info("load accepted", extra={"job_id": accepted.job_id, "model_id": spec.model_id})
            return
        if store.run(ledger.read(accepted.job_id, None)).state not in (JobState.FAILED, JobState.CANCELLED):
            return


def _load_spec(model: FileModel, rank: int, sealer: Sealer) -> LoadSpec:
    is_hub = model.hub is not None
    source = (
        ModelSource(origin=Origin.HUB, shown=model.hub or "")
        if is_hub
        else url_source(model.url or "", sealer)
    )
    return LoadSpec(
        model_id=model.id,
        model_kind=model.kind,
        source=source,
        format=model.format,
        revision=model.revision,
        upcast_attention=model.upcast_attention,
        config=model.config,
        rank=rank,
        seeded=True,
        file_prefix=model.entry_id,
        public_url="",
    )
