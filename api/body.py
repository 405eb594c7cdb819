"""Reads a request's body and finds out who sent it."""

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from api.context import gateway_of
from api.wire.answers import INVALID_REQUEST
from shared.api_keys import ApiKey
from shared.errors import BadRequest, InvalidKey

Json = dict[str, Any]


@dataclass(frozen=True)
class Caller:
    """An authenticated request: whose it is and what it says."""

    key: ApiKey
    body: Json


async def authenticate(request: Request) -> Caller:
    """Raises `BadRequest` for a body that is no JSON object, `InvalidKey` for an unknown key.

    The key is looked for in the body, then as a bearer token, in a `key` header and in the query.
    """
    gateway = gateway_of(request)
    raw = await _read(request, gateway.settings.max_body_bytes)
    body = _object(raw) if raw or request.method == "POST" else {}
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    candidates = (body.get("key"), bearer, request.headers.get("key"), request.query_params.get("key"))
    presented = next((key for key in candidates if isinstance(key, str) and key), None)
    if presented is None:
        raise InvalidKey("Invalid Api Key")
    return Caller(gateway.keys.identify(presented), body)


async def _read(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BadRequest(f"The request body is too large: send at most {limit} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


def _object(raw: bytes) -> Json:
    """Read by content, not by Content-Type: some clients of this protocol send none."""
    try:
        body = from_json(raw, allow_inf_nan=False)
    except ValueError:
        raise BadRequest(INVALID_REQUEST) from None
    if not isinstance(body, dict):
        raise BadRequest(INVALID_REQUEST)
    return body
