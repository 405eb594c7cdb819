"""Reads a request's body and finds out who sent it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.bodies import SMALL_BYTES, Room
from api.context import Gateway, gateway_of
from api.fields import Json, fields, too_large, unpacked
from api.wire.answers import INVALID_REQUEST
from shared import ledger
from shared.api_keys import ApiKey
from shared.errors import BadRequest, InvalidKey


@dataclass(frozen=True)
class Caller:
    """An authenticated request: whose it is and what it says."""

    key: ApiKey
    body: Json


async def authenticate(request: Request) -> Caller:
    """Raises `BadRequest` for a body that can't be read as fields, `InvalidKey` for an unknown key,
    `TooManyBodies` and `TooManyRequests` for what is too much now; `LedgerUnavailable` only for a key whose
    requests are counted.

    The key is looked for in the body, then as a bearer token, in a `key` header and in the query.
    """
    gateway = gateway_of(request)
    settings = gateway.settings
    with gateway.bodies.room(settings.bodies_at_once * settings.max_body_bytes) as room:
        body = await _body(request, gateway, room)
        presented = next((key for key in _keys(request, body or {}) if isinstance(key, str) and key), None)
        if presented is None and body is None and request.method == "POST":
            raise BadRequest(INVALID_REQUEST)
        if presented is None:
            raise InvalidKey("Invalid Api Key")
        caller = Caller(gateway.keys.identify(presented), body or {})
    if caller.key.max_requests_per_minute is not None:
        await gateway.ledger.run(ledger.count_request(caller.key, caller.key.max_requests_per_minute))
    return caller


def _keys(request: Request, body: Json) -> Iterator[object]:
    yield body.get("key")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield token.strip()
    yield request.headers.get("key")
    yield request.query_params.get("key")


async def _body(request: Request, gateway: Gateway, room: Room) -> Json | None:
    """Its fields; None if there is none."""
    limit, headers = gateway.settings.max_body_bytes, request.headers
    raw = await _read(request, limit, room)
    if not raw:
        return None
    encoding = headers.get("content-encoding", "")
    work = partial(_fields, raw, encoding, headers.get("content-type", ""), limit)
    is_light = len(raw) <= SMALL_BYTES and not encoding
    return work() if is_light else await gateway.bodies.worked_out(work)


def _fields(raw: bytes, encoding: str, content_type: str, limit: int) -> Json | None:
    plain = unpacked(raw, encoding, limit)
    return fields(plain, content_type) if plain else None


async def _read(request: Request, limit: int, room: Room) -> bytes:
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else 0
    _require_at_most(limit, size)
    room.require(size)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            _require_at_most(limit, size)
            room.hold(size)
            chunks.append(chunk)
    except ClientDisconnect:
        raise BadRequest("The request body is not complete: send it again.") from None
    return b"".join(chunks)


def _require_at_most(limit: int, size: int) -> None:
    if size > limit:
        raise BadRequest(too_large(limit))
