"""Requests that are safe to repeat: the Idempotency-Key that a client sent, and what it stands for."""

import asyncio
import hashlib
import json
from dataclasses import dataclass

from fastapi import Request

from api.body import Caller
from api.context import gateway_of
from shared import ledger
from shared.errors import BadRequest

LONGEST_KEY = 255


@dataclass(frozen=True)
class Once:
    """One request. Without a key it is made as often as it is sent."""

    key: str | None
    digest: str
    made: int | None
    """The job that the same request made before."""


async def once(request: Request, caller: Caller) -> Once:
    """Raises `BadRequest`, `LedgerUnavailable`; `IdempotencyConflict` if the key came with another body."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return Once(None, "", None)
    if not 0 < len(key) <= LONGEST_KEY:
        raise BadRequest(f"Idempotency-Key must be 1 to {LONGEST_KEY} characters long")
    digest = await asyncio.to_thread(_digest, caller, request.url.path)
    made = await gateway_of(request).ledger.run(ledger.find(key, caller.key, digest))
    return Once(key, digest, made)


def _digest(caller: Caller, path: str) -> str:
    """Of the endpoint and the body without the API key, so that a rotated key is no other request."""
    body = {name: value for name, value in caller.body.items() if name != "key"} | {"": path}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
