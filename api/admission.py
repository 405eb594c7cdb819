"""Accepts jobs: the last checks, the pictures, then one call of the ledger. After it clients may hear yes."""

import uuid
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from fastapi import Request

from api.accepting import tell_accepted
from api.balancing.wire import VIA
from api.body import Caller
from api.context import Gateway
from api.idempotency import once
from api.pinning import pins_of
from api.public_url import public_url
from api.routes.families import Family
from api.wire.requests import Here, JobBody, Terms
from shared import ledger
from shared.errors import (
    BadRequest,
    EntryGone,
    IdempotencyConflict,
    ModelNotFound,
    Overloaded,
)
from shared.jobs import EnlargementSpec, Job, JobSpec, JobState
from shared.ledger import Accepted
from shared.settings import Settings
from shared.spans import carried
from shared.webhooks import webhook_to


class Found(NamedTuple):
    """What a job would use, as the registry had it at one moment."""

    here: Here
    pins: Mapping[str, str]


async def admit(gateway: Gateway, request: Request, caller: Caller, wanted: JobBody, family: Family) -> Job:
    """The accepted job, or the one that the same Idempotency-Key made before.

    Raises `BadRequest`, `BadPicture`, `ModelNotFound`, `IdempotencyConflict`, `Overloaded`;
    `LedgerUnavailable` or `StorageUnavailable` (nothing accepted).
    """
    sent = await once(request, caller)
    if sent.made:
        return await gateway.ledger.run(ledger.read(sent.made, caller.key.tenant))
    found = await _found(gateway, wanted, family)  # before pictures are fetched for nothing
    settings = gateway.settings
    webhook = webhook_to(wanted.webhook, gateway.sealer, settings.allow_private_hosts)
    prefix, reached_at = str(uuid.uuid4()), public_url(gateway, request)
    inputs = await gateway.intake.take(
        wanted.pictures,
        tenant=caller.key.tenant,
        file_prefix=prefix,
        public_url=reached_at,
        followed=partial(gateway.links.followed, found.here.models, reached_at),
    )

    async def accept(found: Found) -> tuple[Accepted, JobSpec]:
        models = found.here.models
        target = models.target(family.deploy_type_of(wanted))
        terms = Terms(
            here=found.here,
            public_url=reached_at,
            file_prefix=prefix,
            inputs=inputs,
            pins=found.pins,
            target=target,
            files_url=gateway.links.files_url(models, target, reached_at),
            webhook=webhook,
            home=_home(gateway, request, wanted),
            trace=carried(),
        )
        spec = wanted.to_spec(terms)
        _require_sane_size(spec, settings)
        call = ledger.accept(spec, caller.key, settings, idempotency_key=sent.key, digest=sent.digest)
        return await gateway.ledger.run(call), spec

    try:
        try:
            accepted, spec = await accept(found)
        except EntryGone:  # what the job would use was deleted or replaced meanwhile
            accepted, spec = await accept(await _found(gateway, wanted, family))
    except (BadRequest, ModelNotFound, IdempotencyConflict, Overloaded, EntryGone):
        gateway.storage.drop_inputs(prefix)  # after any other error the job may have been accepted
        raise
    gateway.bell.ring(accepted.bells)
    if spec.home:
        gateway.balancer.nudge()
    if not accepted.is_new:
        return await made_before(gateway, caller, accepted.job_id, prefix)
    gateway.metrics.accepted(spec)
    job = Job(id=accepted.job_id, tenant=caller.key.tenant, state=JobState.QUEUED, spec=spec)
    tell_accepted(job)
    return job


def _home(gateway: Gateway, request: Request, wanted: JobBody) -> str:
    """This server's name, if others may make the job: what came from one of them goes no further."""
    may_leave = wanted.loadbalancer and gateway.balancer.has_peers and VIA not in request.headers
    return gateway.settings.server_name if may_leave else ""


async def _found(gateway: Gateway, wanted: JobBody, family: Family) -> Found:
    here = Here(gateway.settings, await gateway.registry.look(), family.dialect)
    return Found(here, pins_of(wanted, here))


async def made_before(gateway: Gateway, caller: Caller, job_id: int, prefix: str) -> Job:
    """By another request with the same key, or by this one, if only the ledger's first reply was lost."""
    job = await gateway.ledger.run(ledger.read(job_id, caller.key.tenant))
    if job.spec.file_prefix != prefix:
        gateway.storage.drop_inputs(prefix)
    return job


def _require_sane_size(spec: JobSpec, settings: Settings) -> None:
    most = settings.max_enlarged_pixels
    if isinstance(spec, EnlargementSpec) and spec.pixels > most:
        raise BadRequest(
            f"scale would make {spec.pixels:,} pixels of this picture: send a smaller one, or a scale that "
            f"makes at most {most:,}"
        )
