"""Accepts jobs: the last checks, the pictures, then one call of the ledger. After it clients may hear yes."""

import asyncio
import hashlib
import json
import uuid

from fastapi import Request

from api.body import Caller
from api.context import Gateway
from api.public_url import public_url
from api.wire.requests import JobBody, Order
from shared import ledger
from shared.broker import GPU_QUEUE
from shared.errors import BadRequest, IdempotencyConflict, ModelNotFound, RefusedAddress
from shared.jobs import Dialect, EnlargementSpec, Job, JobSpec, JobState
from shared.outbound import check_url
from shared.settings import Settings

LONGEST_IDEMPOTENCY_KEY = 255


async def admit(gateway: Gateway, request: Request, caller: Caller, wanted: JobBody, dialect: Dialect) -> Job:
    """The accepted job, or the one that the same Idempotency-Key made before.

    Raises `BadRequest`, `BadPicture`, `ModelNotFound`, `IdempotencyConflict`; `LedgerUnavailable` or
    `StorageUnavailable` (nothing accepted).
    """
    settings, key = gateway.settings, _idempotency_key(request)
    digest = await asyncio.to_thread(_digest, caller, request.url.path) if key else ""
    if key and (known := await gateway.ledger.run(ledger.find(key, caller.key, digest))):
        return await gateway.ledger.run(ledger.read(known, caller.key.tenant))
    require_installed(wanted, settings, dialect)
    if wanted.webhook:
        try:
            check_url(wanted.webhook, settings.allow_private_hosts)
        except RefusedAddress as exc:
            raise BadRequest(f"webhook {exc.detail}") from None
    prefix, reached_at = str(uuid.uuid4()), public_url(gateway, request)
    inputs = await gateway.intake.take(
        wanted.pictures, tenant=caller.key.tenant, file_prefix=prefix, public_url=reached_at
    )
    spec = wanted.to_spec(Order(settings, reached_at, prefix, dialect, inputs))
    try:
        _require_sane_size(spec, settings)
        call = ledger.accept(spec, caller.key, settings, idempotency_key=key, digest=digest)
        accepted = await gateway.ledger.run(call)
    except (BadRequest, IdempotencyConflict):  # after any other error the job may have been accepted
        gateway.storage.drop_inputs(prefix)
        raise
    if accepted.bell_wanted:
        gateway.bell.ring(GPU_QUEUE)
    if not accepted.is_new:
        return await made_before(gateway, caller, accepted.job_id, prefix)
    gateway.metrics.jobs_accepted.labels(kind=spec.kind).inc()
    return Job(id=accepted.job_id, tenant=caller.key.tenant, state=JobState.QUEUED, spec=spec)


async def made_before(gateway: Gateway, caller: Caller, job_id: int, prefix: str) -> Job:
    """By another request with the same key, or by this one, if only the ledger's first reply was lost."""
    job = await gateway.ledger.run(ledger.read(job_id, caller.key.tenant))
    if job.spec.file_prefix != prefix:
        gateway.storage.drop_inputs(prefix)
    return job


def require_installed(wanted: JobBody, settings: Settings, dialect: Dialect) -> None:
    """Refuse now what no worker could do."""
    for needed in wanted.needed:
        installed = getattr(settings, needed.table)
        for name in needed.ids:
            if name not in installed:
                raise ModelNotFound(f"{needed.what} not found: {name}")
    missing = wanted.missing(settings, dialect)
    if missing:
        raise BadRequest(missing)


def _require_sane_size(spec: JobSpec, settings: Settings) -> None:
    most = settings.max_enlarged_pixels
    if isinstance(spec, EnlargementSpec) and spec.pixels > most:
        raise BadRequest(
            f"scale would make {spec.pixels:,} pixels of this picture: send a smaller one, or a scale that "
            f"makes at most {most:,}"
        )


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= LONGEST_IDEMPOTENCY_KEY:
        raise BadRequest(f"Idempotency-Key must be 1 to {LONGEST_IDEMPOTENCY_KEY} characters long")
    return key


def _digest(caller: Caller, path: str) -> str:
    """Of the endpoint and the body without the API key, so that a rotated key is no other request."""
    body = {name: value for name, value in caller.body.items() if name != "key"} | {"": path}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
