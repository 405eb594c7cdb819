"""Bodies that are forms instead of JSON, as PHP's curl, HTML and `curl -d` send them.

Their values are strings; what those mean is said in api/wire/loose.py, as it is for JSON.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from email.parser import BytesHeaderParser
from urllib.parse import unquote_to_bytes

MOST_FIELDS = 200
MOST_ESCAPES = 2_000_000
"""More than a picture in base64 has; each takes a while."""
BLOCK_BYTES = 64 * 1024
LONGEST_HEAD = 1_000
_INDEX = re.compile(r"\[\d*\]$")


def urlencoded_fields(raw: bytes) -> dict[str, str | list[str]]:
    """Raises `ValueError` for what is no form."""
    raw.decode()
    if b"=" not in raw:
        raise ValueError("no field")
    if raw.count(b"&") >= MOST_FIELDS or raw.count(b"%") > MOST_ESCAPES:
        raise ValueError("too many fields or escapes")
    pairs = (part.partition(b"=") for part in raw.replace(b"+", b" ").split(b"&") if part)
    return _gathered((_unescaped(name), _unescaped(value)) for name, _, value in pairs)


def _unescaped(raw: bytes) -> str:
    """As `urllib.parse.unquote`, which splits at each escape: of a whole picture that takes gigabytes."""
    return b"".join(map(unquote_to_bytes, _blocks(raw))).decode(errors="replace")


def _blocks(raw: bytes) -> Iterator[bytes]:
    """In this order, none of them ending within an escape."""
    start = 0
    while start < len(raw):
        end = start + BLOCK_BYTES
        cut = raw.rfind(b"%", end - 2, end)
        end = end if cut < 0 else cut
        yield raw[start:end]
        start = end


def multipart_fields(raw: bytes, boundary: str) -> dict[str, str | list[str]]:
    """Files become base64, as this protocol sends pictures. Raises `ValueError` for what is no form."""
    return _gathered(_parts(raw, boundary.encode("ascii")))


def _parts(raw: bytes, boundary: bytes) -> Iterator[tuple[str, str]]:
    # split by hand: the standard library reads forms line by line, which takes minutes for a large file
    marker = b"\r\n--" + boundary
    _, *parts = (b"\r\n" + raw).split(marker, MOST_FIELDS)
    for part in parts:
        if part.startswith(b"--"):
            return
        head, separator, content = part.partition(b"\r\n\r\n")
        described = BytesHeaderParser().parsebytes(head[:LONGEST_HEAD].lstrip())
        name = described.get_param("name", header="content-disposition")
        if not separator or not isinstance(name, str):
            break
        is_file = described.get_filename() is not None
        yield name, base64.b64encode(content).decode() if is_file else content.decode()
    raise ValueError("no end")


def _gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """`name[]` and `name[0]` make lists."""
    words: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for name, value in pairs:
        bare = _INDEX.sub("", name)
        if bare == name:
            words[name] = value
        else:
            lists.setdefault(bare, []).append(value)
    return {**words, **lists}
