"""Turns the bytes of a request into its fields: JSON, as the protocol says, or a form."""

import codecs
import zlib
from email.message import Message
from typing import Any

from pydantic_core import from_json

from api.forms import multipart_fields, urlencoded_fields
from api.wire.answers import INVALID_REQUEST
from shared.errors import BadRequest

Json = dict[str, Any]

LONGEST_CONTENT_TYPE = 300
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
MOST_VALUES = 100_000
"""In one body of JSON. What is large in a request is the text of a picture; 30 MB of empty lists would take
seconds and a gigabyte."""
NOT_AS_ENCODED = "The request body is not what its Content-Encoding says: send it plain."
ONE_BYTE_CHARSETS = {"iso-8859-1": "latin-1", "latin1": "latin-1", "windows-1252": "cp1252"}


def unpacked(raw: bytes, encoding: str, limit: int) -> bytes:
    """Without its Content-Encoding; raises `BadRequest` if there would be more than `limit` bytes."""
    if encoding.lower() in ("", "identity"):
        return raw
    if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        raise BadRequest("The request body's Content-Encoding is not known here: send it plain, or as gzip.")
    unpacker = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        plain = unpacker.decompress(raw, limit + 1)
    except zlib.error:
        raise BadRequest(NOT_AS_ENCODED) from None
    if len(plain) > limit:
        raise BadRequest(too_large(limit))
    if not unpacker.eof:
        raise BadRequest(NOT_AS_ENCODED)
    return plain


def too_large(limit: int) -> str:
    return f"The request body is too large: send at most {limit} bytes."


def fields(raw: bytes, content_type: str) -> Json:
    """JSON is known by its first letter: some clients of this protocol name no type for it, or a form's.

    Raises `BadRequest`.
    """
    raw = raw.removeprefix(codecs.BOM_UTF8)
    described = Message()
    described["content-type"] = content_type[:LONGEST_CONTENT_TYPE]
    try:
        body = _read(raw, described)
    except ValueError:
        raise BadRequest(INVALID_REQUEST) from None
    if not isinstance(body, dict):
        raise BadRequest(INVALID_REQUEST)
    return body


def _read(raw: bytes, described: Message) -> object:
    if raw.lstrip()[:1] not in (b"{", b"["):
        match described.get_content_type():
            case "multipart/form-data":
                return multipart_fields(raw, described.get_boundary() or "")
            case "application/x-www-form-urlencoded":
                return urlencoded_fields(raw)
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > MOST_VALUES:
        raise ValueError("too many values")
    return from_json(_in_utf8(raw, described.get_content_charset()), allow_inf_nan=False)


def _in_utf8(raw: bytes, charset: str | None) -> bytes:
    """JSON is UTF-8, whatever charset is named; some clients mean the other one that they name."""
    if charset not in ONE_BYTE_CHARSETS:
        return raw
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw.decode(ONE_BYTE_CHARSETS[charset]).encode()
    return raw
