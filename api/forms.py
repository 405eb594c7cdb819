"""Bodies that are forms instead of JSON, as PHP's curl, HTML and `curl -d` send them.

Their values are strings; what those mean is said in api/wire/loose.py, as it is for JSON.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from email.parser import BytesHeaderParser
from urllib.parse import parse_qsl

MOST_FIELDS = 200
LONGEST_HEAD = 1_000
_INDEX = re.compile(r"\[\d*\]$")


def urlencoded_fields(text: str) -> dict[str, str | list[str]]:
    """Raises `ValueError` for what is no form."""
    if "=" not in text:
        raise ValueError("no field")
    return _gathered(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))


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
