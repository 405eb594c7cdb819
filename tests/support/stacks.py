"""Requests as the HTTP stacks of many languages send them: to the byte, over a bare socket."""

import gzip
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from urllib.parse import urlencode, urlsplit

Fields = Mapping[str, str | int]

BOUNDARY = "------------------------d74496d66958873e"


def as_json(fields: Fields) -> bytes:
    return json.dumps(fields).encode()


def as_phps_json(fields: Fields) -> bytes:
    """With escaped slashes."""
    return as_json(fields).replace(b"/", b"\\/")


def as_json_with_a_bom(fields: Fields) -> bytes:
    return b"\xef\xbb\xbf" + json.dumps(fields, ensure_ascii=False).encode()


def as_latin_json(fields: Fields) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode("latin-1")


def as_packed_json(fields: Fields) -> bytes:
    return gzip.compress(as_json(fields))


def as_form(fields: Fields) -> bytes:
    return urlencode(fields).encode()


def as_parts(fields: Fields) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return f"{''.join(parts)}--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Stack:
    """One way to send fields."""

    headers: str
    """Line by line; {host} and {length} are put in."""
    encode: Callable[[Fields], bytes] = as_json
    target: str = "{path}"
    """What it makes of a path, which depends on how its user wrote the base URL."""
    version: str = "HTTP/1.1"
    is_chunked: bool = False
    waits: bool = False
    """Sends the body when it is told to go on, and not before."""
    key_in_body: bool = True


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    content: bytes


def send(url: str, stack: Stack, path: str, fields: Fields) -> Answer:
    """Sends the fields by POST; without those of its body if the key travels elsewhere."""
    host = urlsplit(url).netloc
    sent = {name: value for name, value in fields.items() if stack.key_in_body or name != "key"}
    body = stack.encode(sent)
    target = stack.target.format(path=path, host=host)
    head = [f"POST {target} {stack.version}", *stack.headers.strip().splitlines(), "", ""]
    with socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0), 60) as connection:
        connection.sendall("\r\n".join(head).format(host=host, length=len(body)).encode())
        if stack.waits:
            _be_told_to_go_on(connection)
        connection.sendall(_chunks(body) if stack.is_chunked else body)
        return _answer(connection)


def send_bare(url: str, method: str, path: str, headers: str) -> Answer:
    """Sends a request without a body."""
    host = urlsplit(url).netloc
    lines = [f"{method} {path} HTTP/1.1", *headers.strip().splitlines(), "", ""]
    with socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0), 60) as connection:
        connection.sendall("\r\n".join(lines).format(host=host).encode())
        return _answer(connection, method)


def _be_told_to_go_on(connection: socket.socket) -> None:
    told = b""
    while not told.endswith(b"\r\n\r\n"):
        told += connection.recv(1)
    assert told.startswith(b"HTTP/1.1 100 "), told


def _chunks(body: bytes) -> bytes:
    half = len(body) // 2
    parts = (b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return b"".join((*parts, b"0\r\n\r\n"))


def _answer(connection: socket.socket, method: str = "POST") -> Answer:
    with HTTPResponse(connection, method=method) as response:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


STACKS = {
    "Node fetch": Stack(
        """
host: {host}
connection: keep-alive
Content-Type: application/json
accept: */*
accept-language: *
sec-fetch-mode: cors
user-agent: node
accept-encoding: gzip, deflate
content-length: {length}
"""
    ),
    "Node axios": Stack(
        """
Accept: application/json, text/plain, */*
Content-Type: application/json
User-Agent: axios/1.7.7
Content-Length: {length}
Accept-Encoding: gzip, compress, deflate, br
Host: {host}
Connection: close
"""
    ),
    "Node request": Stack(
        """
Content-Type: application/json
host: {host}
content-length: {length}
Connection: close
"""
    ),
    "JavaScript with a bearer token": Stack(
        """
host: {host}
Content-Type: application/json
Authorization: Bearer demo
content-length: {length}
""",
        key_in_body=False,
    ),
    "PHP curl": Stack(
        """
Host: {host}
Accept: */*
Accept-Encoding: deflate, gzip, br
Content-Type: application/json
Content-Length: {length}
""",
        as_phps_json,
    ),
    "PHP curl with a long body": Stack(
        """
Host: {host}
Accept: */*
Content-Type: application/json
Content-Length: {length}
Expect: 100-continue
""",
        as_phps_json,
        waits=True,
    ),
    "PHP curl with an array": Stack(
        f"""
Host: {{host}}
Accept: */*
Content-Length: {{length}}
Content-Type: multipart/form-data; boundary={BOUNDARY}
Expect: 100-continue
""",
        as_parts,
        waits=True,
    ),
    "PHP curl with http_build_query": Stack(
        """
Host: {host}
Accept: */*
Content-Length: {length}
Content-Type: application/x-www-form-urlencoded
""",
        as_form,
    ),
    "PHP file_get_contents": Stack(
        """
Host: {host}
Connection: close
Content-Length: {length}
Content-Type: application/json
""",
        as_phps_json,
        version="HTTP/1.0",
    ),
    "PHP Guzzle": Stack(
        """
Content-Length: {length}
User-Agent: GuzzleHttp/7
Content-Type: application/json
Host: {host}
""",
        as_phps_json,
    ),
    "Ruby Net::HTTP": Stack(
        """
Content-Type: application/json
Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
Accept: */*
User-Agent: Ruby
Host: {host}
Content-Length: {length}
"""
    ),
    "Ruby Faraday with a key header": Stack(
        """
Content-Type: application/json
User-Agent: Faraday v2.12.0
key: demo
Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
Accept: */*
Connection: close
Host: {host}
Content-Length: {length}
""",
        key_in_body=False,
    ),
    "Go": Stack(
        """
Host: {host}
User-Agent: Go-http-client/1.1
Content-Length: {length}
Content-Type: application/json
Accept-Encoding: gzip
"""
    ),
    "Go with a pipe": Stack(
        """
Host: {host}
User-Agent: Go-http-client/1.1
Transfer-Encoding: chunked
Content-Type: application/json
Accept-Encoding: gzip
""",
        is_chunked=True,
    ),
    "Java OkHttp": Stack(
        """
Content-Type: application/json; charset=utf-8
Content-Length: {length}
Host: {host}
Connection: Keep-Alive
Accept-Encoding: gzip
User-Agent: okhttp/4.12.0
"""
    ),
    "Java HttpClient": Stack(
        """
Connection: Upgrade, HTTP2-Settings
Content-Length: {length}
Host: {host}
HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA
Upgrade: h2c
User-Agent: Java-http-client/17.0.15
Content-Type: application/json
"""
    ),
    "Java Apache HttpClient": Stack(
        """
Content-Length: {length}
Content-Type: text/plain; charset=ISO-8859-1
Host: {host}
Connection: Keep-Alive
User-Agent: Apache-HttpClient/4.5.14 (Java/17.0.15)
Accept-Encoding: gzip,deflate
""",
        as_latin_json,
    ),
    "Java that packs its requests": Stack(
        """
Content-Type: application/json; charset=utf-8
Content-Encoding: gzip
Transfer-Encoding: chunked
Host: {host}
Connection: Keep-Alive
User-Agent: okhttp/4.12.0
""",
        as_packed_json,
        is_chunked=True,
    ),
    ".NET HttpClient": Stack(
        """
Host: {host}
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00
Content-Type: application/json; charset=utf-8
Transfer-Encoding: chunked
""",
        is_chunked=True,
    ),
    ".NET with a byte order mark": Stack(
        """
Host: {host}
Content-Type: application/json
Content-Length: {length}
""",
        as_json_with_a_bom,
    ),
    "curl -d": Stack(
        """
Host: {host}
User-Agent: curl/8.5.0
Accept: */*
Content-Length: {length}
Content-Type: application/x-www-form-urlencoded
"""
    ),
    "a browser": Stack(
        """
Host: {host}
Connection: keep-alive
Content-Length: {length}
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0
Content-Type: application/json
Accept: */*
Origin: https://app.example
Sec-Fetch-Site: cross-site
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: https://app.example/
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9
"""
    ),
    "a base URL with a slash at its end": Stack(
        """
Host: {host}
Content-Type: application/json
Content-Length: {length}
""",
        target="/{path}/",
    ),
    "through a proxy": Stack(
        """
Host: {host}
Content-Type: application/json
Proxy-Connection: Keep-Alive
Content-Length: {length}
""",
        target="http://{host}{path}",
    ),
}
"""By what sends them."""
