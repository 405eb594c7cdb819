"""Accepts jobs: the last checks, then one call of the ledger. After it the client may hear yes."""

import hashlib
import json
import re
from collections.abc import Container, Iterable

from fastapi import Request

from api.body import Caller
from api.context import Gateway
from api.wire.requests import Text2Img
from shared import ledger
from shared.broker import GPU_QUEUE
from shared.errors import BadRequest, ModelNotFound, RefusedAddress
from shared.jobs import Dialect, Job, JobState
from shared.missing import NO_CHECKER, NO_TRANSLATOR
from shared.outbound import check_url
from shared.settings import Settings, host_in_url

_HOST = re.compile(r"[A-Za-z0-9._-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")
LONGEST_IDEMPOTENCY_KEY = 255


async def admit(
    gateway: Gateway, request: Request, caller: Caller, wanted: Text2Img, dialect: Dialect
) -> Job:
    """The accepted job, or the one that the same Idempotency-Key made before.

    Raises `BadRequest`, `ModelNotFound`, `IdempotencyConflict`, or `LedgerUnavailable` (nothing accepted).
    """
    require_installed(wanted, gateway.settings)
    if wanted.webhook:
        try:
            check_url(wanted.webhook, gateway.settings.allow_private_hosts)
        except RefusedAddress as exc:
            raise BadRequest(f"webhook {exc.detail}") from None
    spec = wanted.to_spec(public_url(gateway, request), dialect)
    call = ledger.accept(
        spec,
        caller.key,
        gateway.settings,
        idempotency_key=_idempotency_key(request),
        digest=_digest(caller),
    )
    accepted = await gateway.ledger.run(call)
    if accepted.bell_wanted:
        gateway.bell.ring(GPU_QUEUE)
    if not accepted.is_new:
        return await gateway.ledger.run(ledger.read(accepted.job_id, caller.key.tenant))
    gateway.metrics.jobs_accepted.labels(kind="text2img").inc()
    return Job(id=accepted.job_id, tenant=caller.key.tenant, state=JobState.QUEUED, spec=spec)


def require_installed(wanted: Text2Img, settings: Settings) -> None:
    """Refuse now what no worker could do."""
    _require("Model", [wanted.model_id], settings.models)
    _require("LoRA", wanted.lora_model, settings.loras)
    _require("Embedding", wanted.embeddings_model, settings.embeddings)
    _require("VAE", [wanted.vae] if wanted.vae else [], settings.vaes)
    if wanted.multi_lingual and settings.translator is None:
        raise BadRequest(NO_TRANSLATOR)
    if wanted.safety_checker and settings.safety_checker is None and settings.require_safety_checker:
        raise BadRequest(NO_CHECKER)


def _require(what: str, names: Iterable[str], installed: Container[str]) -> None:
    for name in names:
        if name not in installed:
            raise ModelNotFound(f"{what} not found: {name}")


def public_url(gateway: Gateway, request: Request) -> str:
    """Scheme and host under which this client reaches us; a Host header that is no host is not repeated."""
    if gateway.settings.public_url:
        return gateway.settings.public_url.rstrip("/")
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    host = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
    if scheme not in ("http", "https") or not _HOST.fullmatch(host):
        scheme, host = "http", f"{host_in_url(gateway.settings.host)}:{gateway.settings.port}"
    return f"{scheme}://{host}"


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= LONGEST_IDEMPOTENCY_KEY:
        raise BadRequest(f"Idempotency-Key must be 1 to {LONGEST_IDEMPOTENCY_KEY} characters long")
    return key


def _digest(caller: Caller) -> str:
    """Of the body without the API key, so that a rotated key does not look like another request."""
    body = {name: value for name, value in caller.body.items() if name != "key"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
