"""Reads a request's body and finds out who sent it."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import Request

from api.context import gateway_of
from api.fields import Json, fields, too_large, unpacked
from api.wire.answers import INVALID_REQUEST
from shared.api_keys import ApiKey
from shared.errors import BadRequest, InvalidKey


@dataclass(frozen=True)
class Caller:
    """An authenticated request: whose it is and what it says."""

    key: ApiKey
    body: Json


async def authenticate(request: Request) -> Caller:
    """Raises `BadRequest` for a body that can't be read as fields, `InvalidKey` for an unknown key.

    The key is looked for in the body, then as a bearer token, in a `key` header and in the query.
    """
    gateway = gateway_of(request)
    limit, headers = gateway.settings.max_body_bytes, request.headers
    raw = unpacked(await _read(request, limit), headers.get("content-encoding", ""), limit)
    body = fields(raw, headers.get("content-type", "")) if raw else {}
    presented = next((key for key in _keys(request, body) if isinstance(key, str) and key), None)
    if presented is None and not raw and request.method == "POST":
        raise BadRequest(INVALID_REQUEST)
    if presented is None:
        raise InvalidKey("Invalid Api Key")
    return Caller(gateway.keys.identify(presented), body)


def _keys(request: Request, body: Json) -> Iterator[object]:
    yield body.get("key")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield token.strip()
    yield request.headers.get("key")
    yield request.query_params.get("key")


async def _read(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BadRequest(too_large(limit))
        chunks.append(chunk)
    return b"".join(chunks)
