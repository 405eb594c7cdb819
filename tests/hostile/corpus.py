"""Bodies that nobody means well with. Deterministic: the same ones in every run."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=b"
MB = 1024**2


@dataclass(frozen=True)
class Nasty:
    """One body. `chunks`: sent in pieces of that many bytes, without its length."""

    name: str
    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON})
    chunks: int = 0


def _typed(name: str, content: bytes, kind: str) -> Nasty:
    return Nasty(name, content, {"Content-Type": kind})


def _packed(name: str, content: bytes, encoding: str = "gzip") -> Nasty:
    return Nasty(name, content, {"Content-Type": JSON, "Content-Encoding": encoding})


def small(key: str) -> list[Nasty]:
    """Bodies for every endpoint. `key`: a valid one, so that what is behind it hears them too."""
    fields = {"key": key, "model_id": "demo", "prompt": "a red circle", "request_id": "1"}
    good = json.dumps(fields).encode()
    with_key = f'"key": "{key}"'.encode()
    return [
        *_json(with_key),
        *_texts(good),
        *_packings(good),
        *_parts(key.encode()),
        *_forms(key.encode()),
        Nasty("nothing", b""),
        Nasty("byte by byte", good, chunks=1),
        Nasty("byte by byte, cut off", good[:-1], chunks=1),
        Nasty("nothing in chunks", b"", chunks=1),
    ]


def _json(key: bytes) -> Iterator[Nasty]:
    words = {
        "blanks": b" \r\n\t ",
        "open brace": b"{",
        "list": b"[]",
        "list of an object": b"[{" + key + b"}]",
        "null": b"null",
        "true": b"true",
        "zero": b"-0",
        "too large a number": b"1e400",
        "NaN": b"NaN",
        "text": b'"text"',
        "cut off": b'{"key": ',
        "comma at the end": b"{" + key + b",}",
        "comment": b"{" + key + b"} // please",
        "two objects": b"{" + key + b"}{" + key + b"}",
        "single quotes": b"{'key': 'x'}",
        "infinity in a field": b"{" + key + b', "seed": Infinity}',
        "NaN in a field": b"{" + key + b', "seed": NaN}',
        "1e400 in a field": b"{" + key + b', "seed": 1e400, "model_id": "demo", "prompt": "x"}',
        "-0 in fields": b"{" + key + b', "seed": -0, "samples": -0.0, "model_id": "demo", "prompt": "x"}',
        "5000 digits": b"{" + key + b', "seed": ' + b"9" * 5000 + b"}",
        "1000 digits": b"{" + key + b', "seed": ' + b"9" * 1000 + b', "request_id": ' + b"9" * 1000 + b"}",
        "key of another type": b'{"key": {"$ne": null}}',
        "key of a list": b'{"key": ["a", "b"]}',
        "key of null bytes": b'{"key": "\\u0000\\u0000"}',
        "key of a surrogate": b'{"key": "\\ud800"}',
        "key of a megabyte": b'{"key": "' + b"k" * 60_000 + b'"}',
        "keys twice": b'{"key": "no", "key": "neither"}',
        "long name": b"{" + key + b', "' + b"n" * 60_000 + b'": 1}',
        "names of nothing": b"{" + key + b', "": 1, " ": 2, "\\u0000": 3}',
        "names of Python": b"{" + key + b', "__class__": 1, "__init__": {}, "self": 1, "cls": 1}',
        "surrogates": b"{" + key + b', "prompt": "\\udfff", "model_id": "\\ud800", "request_id": "\\ud800"}',
        "null bytes": b"{" + key + b', "prompt": "\\u0000", "model_id": "\\u0000", "request_id": "\\u0000"}',
        "raw null byte": b"{" + key + b', "prompt": "a\x00b"}',
        "deep lists": b"{" + key + b', "prompt": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "many values": b"{" + key + b', "prompt": [' + b"0," * 20_000 + b"0]}",
        "path": b"{" + key + b', "model_id": "../../../../etc/passwd", "request_id": "../1"}',
        "markup": b"{" + key + b', "model_id": "<script>alert(1)</script>", "request_id": "1; DROP"}',
    }  # fmt: skip
    return (Nasty(name, content) for name, content in words.items())


def _texts(good: bytes) -> Iterator[Nasty]:
    text = good.decode()
    yield Nasty("bad UTF-8", good.replace(b"red", b"\xff\xfe\xc0\x80"))
    yield Nasty("surrogates in UTF-8", good.replace(b"red", b"\xed\xa0\x80"))
    for coding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "cp500"):
        yield Nasty(coding, text.encode(coding))
    for charset in (
        "utf-16",
        "utf-7",
        "base64",
        "rot13",
        "zip",
        "idna",
        "x" * 200,
        "\xff",
        '"',
        "utf-8'\"; x=y",
    ):
        yield _typed(f"charset {charset[:9]}", good, f"{JSON}; charset={charset}")
    for kind in ("", ";", "/", "text/html", "image/png", "application/xml", JSON * 100, "a/b;" * 3000):
        yield _typed(f"type {kind[:20]}", good, kind)
    for words in ("charset*=x''%ff", "charset*0=utf; charset*1*=x", "charset*x*=1; charset*99999999999*=2"):
        yield _typed(words, good, f"{JSON}; {words}")


def _packings(good: bytes) -> Iterator[Nasty]:
    whole = gzip.compress(good)
    yield _packed("not gzip", good)
    yield _packed("empty gzip", b"")
    yield _packed("gzip without an end", whole[:-4])
    yield _packed("half of gzip", whole[: len(whole) // 2])
    yield _packed("gzip with other sums", whole[:-8] + b"\0" * 8)
    yield _packed("gzip of nothing", gzip.compress(b""))
    yield _packed("gzip of gzip", gzip.compress(whole), "gzip, gzip")
    yield _packed("deflate without a head", zlib.compress(good)[2:-4], "deflate")
    for encoding in ("br", "zstd", "identity, identity", "*", "\xff", "g" * 5000):
        yield _packed(f"encoding {encoding[:9]}", good, encoding)


def _parts(key: bytes) -> Iterator[Nasty]:
    whole = b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + key + b"\r\n--b--\r\n"
    yield _typed("parts without a boundary", whole, "multipart/form-data")
    yield _typed("parts of another boundary", whole, "multipart/form-data; boundary=other")
    yield _typed("parts of an odd boundary", whole, "multipart/form-data; boundary*=x''%ff")
    yield _typed("parts of a long boundary", whole, "multipart/form-data; boundary=" + "b" * 5000)
    yield _typed("parts of an empty boundary", whole, 'multipart/form-data; boundary=""')
    yield _typed("parts without an end", whole[:-8], PARTS)
    yield _typed("nothing but ends", b"--b--" * 1000, PARTS)
    yield _typed("parts of nothing", b"--b\r\n" * 1000, PARTS)
    yield _typed("thousands of parts", whole[:-5] * 3000 + b"--", PARTS)
    for words in (
        b"name*=x''%ff",
        b"name*0=a; name*1=b",
        b"name=",
        b'name="\xff"; filename*=\xff',
        b"n" * 5000,
    ):
        part = b"--b\r\nContent-Disposition: form-data; " + words + b"\r\n\r\nx\r\n--b--\r\n"
        yield _typed(f"part {words[:12].decode('latin-1')}", part, PARTS)


def _forms(key: bytes) -> Iterator[Nasty]:
    yield _typed("thousands of fields", b"&".join(b"f%d=1" % i for i in range(5000)), FORM)
    yield _typed("one field thousands of times", b"key=" + key + b"&seed[]=1" * 5000, FORM)
    yield _typed("form of nothing", b"&" * 5000, FORM)
    yield _typed("form of equals", b"=" * 5000, FORM)
    yield _typed(
        "form of broken escapes", b"key=" + key + b"&prompt=%%%zz%f%u1234%00%ff&model_id=%c0%af", FORM
    )


TOO_LARGE, INVALID, UNKNOWN = "too large", "Invalid API Request", "Invalid Api Key"
_PART = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n'


def _bomb(bits: int) -> bytes:
    """A gigabyte of nothing, packed."""
    squeezer, nothing = zlib.compressobj(wbits=bits), b"\0" * (10 * MB)
    start, again = (squeezer.compress(nothing) + squeezer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return start + again * 100


LARGE: dict[str, tuple[Callable[[], Nasty], str]] = {
    "50 MB": (lambda: Nasty("", b" " * (50 * MB)), TOO_LARGE),
    "50 MB in chunks": (lambda: Nasty("", b" " * (50 * MB), chunks=MB), TOO_LARGE),
    "bomb": (lambda: _packed("", _bomb(zlib.MAX_WBITS | 16)), TOO_LARGE),
    "bomb of zlib": (lambda: _packed("", _bomb(zlib.MAX_WBITS), "deflate"), TOO_LARGE),
    "100 000 lists deep": (lambda: Nasty("", b"[" * 100_000), INVALID),
    "100 000 objects deep": (lambda: Nasty("", b'{"a":' * 100_000 + b"1" + b"}" * 100_000), INVALID),
    "millions of lists": (lambda: Nasty("", b'{"a": [' + b"[]," * (10 * MB) + b"0]}"), INVALID),
    "millions of lists, packed": (lambda: _packed("", gzip.compress(b"[" + b"[]," * (10 * MB))), INVALID),
    "millions of numbers": (lambda: Nasty("", b'{"a": [' + b"1," * (15 * MB) + b"0]}"), INVALID),
    "millions of names": (
        lambda: Nasty("", b"{" + b",".join(b'"%07d":1' % number for number in range(2_000_000)) + b"}"),
        INVALID,
    ),
    "a name of 30 MB": (lambda: Nasty("", b'{"' + b"n" * (30 * MB) + b'": 1}'), UNKNOWN),
    "a value of 30 MB": (lambda: Nasty("", b'{"a": "\\ud83d\\ude00' + b"n" * (30 * MB) + b'"}'), UNKNOWN),
    "millions of escapes": (lambda: _typed("", b"key=" + b"%41" * (10 * MB), FORM), INVALID),
    "100 000 fields": (lambda: _typed("", b"a=1&" * 100_000, FORM), INVALID),
    "a part without an end": (lambda: _typed("", _PART + b"\r" * (30 * MB), PARTS), INVALID),
}
"""Bodies of many megabytes, or that become many, made when they are needed; and what their refusals say."""

WRONG_VALUES: list[object] = [
    *(True, -1, 10**31, 10**400, -0.0, 1e308, 5e-324, "", " ", "\0", "\ud800", "9" * 5000, "1e400", "NaN"),
    *("x" * 20_000, "\u202e\U0001f600", [], [[]], ["a"] * 50, {}, {"a": {"b": []}}, [None, "", 0]),
]
"""For any field, whatever it should be."""
