"""The other end: what a peer is told of this server, and the jobs that it hands over."""

import time
import uuid

from api.accepting import tell_accepted
from api.balancing.facts import abilities, load_of
from api.balancing.wire import HandOver, Question, ServerState, Told
from api.context import Gateway
from api.wire.requests import GivenPicture
from api.wire.s3 import DeployType
from shared import ledger
from shared.api_keys import ApiKey
from shared.errors import BadRequest, EntryGone, JobNotFound, ModelNotFound, Overloaded
from shared.jobs import (
    OF_ITS_CLIENT,
    Dialect,
    FilmSpec,
    InputPicture,
    Job,
    JobSpec,
    JobState,
    Kind,
    LoadSpec,
    PictureSpec,
    Role,
)
from shared.registry import ModelKind, Snapshot
from shared.settings import Settings
from shared.spans import carried
from shared.version import VERSION

FIELD = "pictures"
DEPLOY_TYPES = {Kind.TEXT2VIDEO: DeployType.VIDEO, Kind.SUPER_RESOLUTION: DeployType.SUPER_RESOLUTION}


async def state(gateway: Gateway, key: ApiKey, question: Question) -> ServerState:
    """How it is here. Raises `LedgerUnavailable`."""
    here = await gateway.ledger.run(ledger.load(most_leavers=0))
    models = await gateway.registry.look()
    return ServerState(
        name=gateway.settings.server_name,
        version=VERSION,
        time_s=time.time(),
        load=load_of(here),
        models_version=models.version,
        models=None if question.known == models.version else dict(abilities(models)),
        jobs=await _told(gateway, key, question.jobs),
    )


async def _told(gateway: Gateway, key: ApiKey, job_ids: tuple[int, ...]) -> dict[int, Told]:
    if not job_ids:
        return {}
    states = await gateway.ledger.run(ledger.states(job_ids, key.tenant))
    told = {job_id: Told(state=each, progress=progress) for job_id, (each, progress) in states.items()}
    for job_id in [job_id for job_id, (each, _) in states.items() if each.is_terminal]:
        try:
            job = await gateway.ledger.run(ledger.read(job_id, key.tenant))
        except JobNotFound:  # its record has expired just now
            del told[job_id]
        else:
            files = tuple(job.spec.file_urls) if job.spec.files_url else ()
            told[job_id] = Told(state=job.state, progress=1.0, outcome=job.outcome, files=files)
    return told


async def take(gateway: Gateway, key: ApiKey, order: HandOver) -> Job:
    """Accept what a peer hands over; the same job as before if it hands it over again.

    Raises `BadRequest`, `BadPicture`, `ModelNotFound`, `EntryGone`, `Overloaded`, `LedgerUnavailable`,
    `StorageUnavailable`.
    """
    spec = order.spec
    _require_usable(order, gateway.settings)
    sent_as = f"handed over {spec.file_prefix}"
    made = await gateway.ledger.run(ledger.find(sent_as, key, ""))
    if made is not None:
        return await gateway.ledger.run(ledger.read(made, key.tenant))
    bound = _bound(spec, await gateway.registry.look(), gateway)
    bound = bound.model_copy(update={"inputs": await _inputs(gateway, key, order)})
    call = ledger.accept(bound, key, gateway.settings, idempotency_key=sent_as, digest="")
    try:
        accepted = await gateway.ledger.run(call)
    except (Overloaded, EntryGone):
        gateway.storage.drop_inputs(spec.file_prefix)
        raise
    gateway.bell.ring(accepted.bells)
    job = Job(id=accepted.job_id, tenant=key.tenant, state=JobState.QUEUED, spec=bound)
    if accepted.is_new:
        gateway.metrics.accepted(bound)
        tell_accepted(job)
    return job


def _require_usable(order: HandOver, settings: Settings) -> None:
    spec = order.spec
    if isinstance(spec, LoadSpec):
        raise BadRequest("Loads of models are not handed over.")
    if not _is_uuid(spec.file_prefix):
        raise BadRequest("file_prefix must be a UUID")
    if spec.inputs.keys() != order.pictures.keys():
        raise BadRequest("pictures must hold one for each input of the job")
    if isinstance(spec, PictureSpec | FilmSpec):
        widest = settings.max_panorama_width if getattr(spec, "panorama", False) else settings.max_side
        if spec.width > widest or spec.height > settings.max_side:
            raise BadRequest(f"{spec.width} x {spec.height} pixels are more than this server makes")


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _bound(spec: JobSpec, models: Snapshot, gateway: Gateway) -> JobSpec:
    """To the models of this server, and to where its files are to lie: where the asking server wants them if
    that bucket is known here too, else here for as long as temporary files are kept."""
    is_shared = spec.target in models.targets
    target = spec.target if is_shared else models.target(_deploy_type(spec))
    return spec.model_copy(
        update={
            "pins": {name: _entry(name, models) for name in spec.pins},
            "target": target,
            "files_url": "" if is_shared else gateway.links.files_url(models, target, ""),
            "temp": spec.temp or not is_shared,
            "public_url": "",
            **OF_ITS_CLIENT,
            "trace": carried(),
            "home": "",
        }
    )


def _entry(name: str, models: Snapshot) -> str:
    """Id of what a job is bound to by this name."""
    if found := models.names.get(name):
        return found
    chosen = models.default(ModelKind(name)) if name in list(ModelKind) else None
    if chosen is None:
        raise ModelNotFound(f"Model not found: {name}")
    return chosen.entry_id


def _deploy_type(spec: JobSpec) -> DeployType:
    if spec.dialect is Dialect.FLUX:
        return DeployType.FLUX
    return DEPLOY_TYPES.get(spec.kind, DeployType.TEXT_TO_IMAGE)


async def _inputs(gateway: Gateway, key: ApiKey, order: HandOver) -> dict[Role, InputPicture]:
    return await gateway.intake.take(
        {role: GivenPicture(FIELD, text) for role, text in order.pictures.items()},
        tenant=key.tenant,
        file_prefix=order.spec.file_prefix,
        public_url="",
        followed=lambda address: address,
    )
