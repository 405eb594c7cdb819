"""Accepts jobs: the last checks, the pictures, then one call of the ledger. After it clients may hear yes."""

import hashlib
import json
import uuid

from fastapi import Request

from api.body import Caller
from api.context import Gateway
from api.inputs import take_inputs
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
    settings = gateway.settings
    require_installed(wanted, settings)
    if wanted.webhook:
        try:
            check_url(wanted.webhook, settings.allow_private_hosts)
        except RefusedAddress as exc:
            raise BadRequest(f"webhook {exc.detail}") from None
    idempotency_key, prefix = _idempotency_key(request), str(uuid.uuid4())
    inputs = await take_inputs(gateway, request, prefix, wanted.pictures)
    spec = wanted.to_spec(Order(settings, public_url(gateway, request), prefix, dialect, inputs))
    call = ledger.accept(spec, caller.key, settings, idempotency_key=idempotency_key, digest=_digest(caller))
    try:
        _require_sane_size(spec, settings)
        accepted = await gateway.ledger.run(call)
    except (BadRequest, IdempotencyConflict):  # after any other error the job may have been accepted
        gateway.storage.drop_inputs(prefix)
        raise
    if accepted.bell_wanted:
        gateway.bell.ring(GPU_QUEUE)
    if not accepted.is_new:
        gateway.storage.drop_inputs(prefix)
        return await gateway.ledger.run(ledger.read(accepted.job_id, caller.key.tenant))
    gateway.metrics.jobs_accepted.labels(kind=spec.kind).inc()
    return Job(id=accepted.job_id, tenant=caller.key.tenant, state=JobState.QUEUED, spec=spec)


def require_installed(wanted: JobBody, settings: Settings) -> None:
    """Refuse now what no worker could do."""
    for needed in wanted.needed:
        installed = getattr(settings, needed.table)
        for name in needed.ids:
            if name not in installed:
                raise ModelNotFound(f"{needed.what} not found: {name}")
    missing = wanted.missing(settings)
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


def _digest(caller: Caller) -> str:
    """Of the body without the API key, so that a rotated key does not look like another request."""
    body = {name: value for name, value in caller.body.items() if name != "key"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
