"""The fields of a request, whatever form its body has."""

import gzip
import json
import zlib
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.fields import MOST_VALUES, fields, unpacked
from api.forms import BLOCK_BYTES, MOST_FIELDS, urlencoded_fields
from shared.errors import BadRequest

BODY = {"key": "k", "prompt": "a café", "width": "64"}
PLAIN = json.dumps(BODY, ensure_ascii=False)
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
PARTS = 'multipart/form-data; boundary="a b"'
LIMIT = 1_000_000


def parts(*contents: bytes, end: bytes = b"--a b--\r\n") -> bytes:
    return (
        b"".join(b"--a b\r\nContent-Disposition: form-data; " + content + b"\r\n" for content in contents)
        + end
    )


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (PLAIN.encode(), JSON),
        (PLAIN.encode(), ""),
        (PLAIN.encode(), FORM),
        (PLAIN.encode(), "text/plain; charset=iso-8859-1"),
        (PLAIN.encode(), "no type at all; charset=\xff; ="),
        (b"\xef\xbb\xbf" + PLAIN.encode(), JSON),
        (b" \r\n" + PLAIN.encode(), FORM),
        (PLAIN.encode("latin-1"), "application/json; charset=ISO-8859-1"),
        (PLAIN.encode("cp1252"), 'application/json; charset="windows-1252"'),
        (b"key=k&prompt=a+caf%C3%A9&width=64", FORM),
        (b"key=k&prompt=a+caf%C3%A9&width=64", f"{FORM}; charset=utf-8"),
        (parts(*(f'name="{name}"\r\n\r\n{value}'.encode() for name, value in BODY.items())), PARTS),
    ],
    ids=[
        *("JSON", "JSON without a type", "JSON named a form", "UTF-8 named otherwise", "a type of nonsense"),
        *("byte order mark", "blanks before", "Latin-1", "Windows", "form", "form with a charset", "parts"),
    ],
)
def test_every_form_of_a_body_has_the_same_fields(raw: bytes, content_type: str) -> None:
    assert fields(raw, content_type) == BODY


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (b"no field", FORM),
        (b"&".join(b"a=b" for _ in range(MOST_FIELDS + 1)), FORM),
        (b"key=\xff", FORM),
        (b"key=k", JSON),
        (b"key=k", ""),
        (b"[1]", JSON),
        (PLAIN.encode("latin-1"), JSON),
        (parts(b'name="key"\r\n\r\nk', end=b""), PARTS),
        (parts(b"no name\r\n\r\nk"), PARTS),
        (parts(b'name="key"'), PARTS),
        (parts(b'name="key"\r\n\r\n\xff'), PARTS),
        (parts(*(b'name="key"\r\n\r\nk' for _ in range(MOST_FIELDS + 1))), PARTS),
        (parts(b'name="key"\r\n\r\nk'), "multipart/form-data"),
        (parts(b'name="key"\r\n\r\nk'), "multipart/form-data; boundary=caf\xe9"),
    ],
    ids=[
        *("form without fields", "form of too many", "form of other letters", "form named JSON"),
        *("form without a type", "list", "Latin-1 that nobody names", "cut off", "part without a name"),
        *("part without content", "part of other letters", "too many parts", "no boundary", "odd boundary"),
    ],
)
def test_what_has_no_fields_is_refused(raw: bytes, content_type: str) -> None:
    with pytest.raises(BadRequest, match="Invalid API Request"):
        fields(raw, content_type)


def test_repeated_fields_of_a_form_are_lists() -> None:
    raw = b"init_image[]=one&init_image[]=two&tags[0]=three&key=k"

    assert fields(raw, FORM) == {"init_image": ["one", "two"], "tags": ["three"], "key": "k"}


def test_a_file_becomes_base64_byte_for_byte() -> None:
    raw = parts(b'name="init_image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\r\n\x00\xff\r\n')

    assert fields(raw, PARTS) == {"init_image": "DQoA/w0K"}


def test_a_packed_body_may_be_as_large_as_one_that_is_not() -> None:
    body = b" " * LIMIT

    assert unpacked(gzip.compress(body), "gzip", LIMIT) == body


def test_of_a_name_that_comes_twice_the_last_one_counts() -> None:
    assert fields(b'{"a": 1, "b": 2, "a": 3}', JSON) == {"a": 3, "b": 2}
    assert fields(b"a=1&b=2&a=3", FORM) == {"a": "3", "b": "2"}


def test_a_body_of_more_values_than_anyone_needs_is_refused_unread() -> None:
    assert len(fields(b'{"a": [' + b"0," * (MOST_VALUES - 2) + b"0]}", JSON)["a"]) == MOST_VALUES - 1

    with pytest.raises(BadRequest, match="Invalid API Request"):
        fields(b'{"a": [' + b"0," * (MOST_VALUES - 1) + b"0]}", JSON)


@given(st.text("a%+=&41fé", max_size=30), st.integers(BLOCK_BYTES - 4, BLOCK_BYTES + 1))
def test_forms_are_read_as_the_standard_library_reads_them(text: str, filling: int) -> None:
    form = f"a=1&{text}&b={'x' * filling}{text}%E2%82%AC"

    assert urlencoded_fields(form.encode()) == dict(parse_qsl(form, keep_blank_values=True))


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "GZIP", "x-gzip", "deflate"])
def test_a_packed_body_is_unpacked(encoding: str) -> None:
    packed = {"": b"body", "identity": b"body", "deflate": zlib.compress(b"body")}

    assert unpacked(packed.get(encoding, gzip.compress(b"body")), encoding, LIMIT) == b"body"


@pytest.mark.parametrize(
    ("raw", "encoding", "sentence"),
    [
        (b"body", "br", "send it plain, or as gzip"),
        (b"body", "gzip", "is not what its Content-Encoding says"),
        (gzip.compress(b" " * (LIMIT + 1)), "gzip", "at most 1000000 bytes"),
        (gzip.compress(b"body" * 100)[:-9], "gzip", "is not what its Content-Encoding says"),
    ],
    ids=["unknown", "not packed", "too large", "cut off"],
)
def test_a_body_that_cannot_be_unpacked_is_refused(raw: bytes, encoding: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        unpacked(raw, encoding, LIMIT)
