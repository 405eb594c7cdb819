"""Accepts jobs: the last checks, the pictures, then one call of the ledger. After it clients may hear yes."""

import uuid
from collections.abc import Callable
from functools import partial

from fastapi import Request

from api.body import Caller
from api.context import Gateway
from api.idempotency import Once, once
from api.pinning import pins_of
from api.public_url import public_url
from api.routes.families import Family
from api.wire.requests import Here, JobBody, Terms
from shared import ledger
from shared.broker import GPU_QUEUE
from shared.errors import (
    BadRequest,
    EntryGone,
    IdempotencyConflict,
    ModelNotFound,
    RefusedAddress,
    TooManyJobs,
)
from shared.jobs import EnlargementSpec, Job, JobSpec, JobState
from shared.ledger import Accepted
from shared.outbound import check_url
from shared.settings import Settings


async def admit(gateway: Gateway, request: Request, caller: Caller, wanted: JobBody, family: Family) -> Job:
    """The accepted job, or the one that the same Idempotency-Key made before.

    Raises `BadRequest`, `BadPicture`, `ModelNotFound`, `IdempotencyConflict`, `TooManyJobs`;
    `LedgerUnavailable` or `StorageUnavailable` (nothing accepted).
    """
    sent = await once(request, caller)
    if sent.made:
        return await gateway.ledger.run(ledger.read(sent.made, caller.key.tenant))
    here = await _here(gateway, family)
    pins_of(wanted, here)  # before pictures are fetched for nothing
    if wanted.webhook:
        require_reachable("webhook", wanted.webhook, gateway.settings)
    prefix, reached_at = str(uuid.uuid4()), public_url(gateway, request)
    inputs = await gateway.intake.take(
        wanted.pictures,
        tenant=caller.key.tenant,
        file_prefix=prefix,
        public_url=reached_at,
        followed=partial(gateway.links.followed, here.models, reached_at),
    )

    def to_spec(here: Here) -> JobSpec:
        target = here.models.target(family.deploy_type_of(wanted))
        terms = Terms(
            here=here,
            public_url=reached_at,
            file_prefix=prefix,
            inputs=inputs,
            pins=pins_of(wanted, here),
            target=target,
            files_url=gateway.links.files_url(here.models, target, reached_at),
        )
        return wanted.to_spec(terms)

    try:
        accepted, spec = await _accepted(gateway, caller, family, to_spec, sent)
    except (BadRequest, ModelNotFound, IdempotencyConflict, TooManyJobs, EntryGone):
        gateway.storage.drop_inputs(prefix)  # after any other error the job may have been accepted
        raise
    if accepted.bell_wanted:
        gateway.bell.ring(GPU_QUEUE)
    if not accepted.is_new:
        return await made_before(gateway, caller, accepted.job_id, prefix)
    gateway.metrics.jobs_accepted.labels(kind=spec.kind).inc()
    return Job(id=accepted.job_id, tenant=caller.key.tenant, state=JobState.QUEUED, spec=spec)


async def _here(gateway: Gateway, family: Family) -> Here:
    return Here(gateway.settings, await gateway.registry.look(), family.dialect)


async def _accepted(
    gateway: Gateway,
    caller: Caller,
    family: Family,
    to_spec: Callable[[Here], JobSpec],
    sent: Once,
) -> tuple[Accepted, JobSpec]:
    """What the job would use may be deleted at this very moment: then it is looked up once more."""

    async def attempt() -> tuple[Accepted, JobSpec]:
        spec = to_spec(await _here(gateway, family))
        _require_sane_size(spec, gateway.settings)
        call = ledger.accept(spec, caller.key, gateway.settings, idempotency_key=sent.key, digest=sent.digest)
        return await gateway.ledger.run(call), spec

    try:
        return await attempt()
    except EntryGone:
        return await attempt()


async def made_before(gateway: Gateway, caller: Caller, job_id: int, prefix: str) -> Job:
    """By another request with the same key, or by this one, if only the ledger's first reply was lost."""
    job = await gateway.ledger.run(ledger.read(job_id, caller.key.tenant))
    if job.spec.file_prefix != prefix:
        gateway.storage.drop_inputs(prefix)
    return job


def require_reachable(field: str, url: str, settings: Settings) -> None:
    """Raises `BadRequest` for a URL that we would not call."""
    try:
        check_url(url, settings.allow_private_hosts)
    except RefusedAddress as exc:
        raise BadRequest(f"{field} {exc.detail}") from None


def _require_sane_size(spec: JobSpec, settings: Settings) -> None:
    most = settings.max_enlarged_pixels
    if isinstance(spec, EnlargementSpec) and spec.pixels > most:
        raise BadRequest(
            f"scale would make {spec.pixels:,} pixels of this picture: send a smaller one, or a scale that "
            f"makes at most {most:,}"
        )
