"""HTTP by hand: requests that no client library would send."""

import json
import socket
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        """Its JSON; empty if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def exchange(
    url: str,
    target: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: tuple[tuple[str, bytes], ...] = (("Content-Type", b"application/json"),),
    host: bytes | None = None,
) -> RawAnswer:
    """One exchange on a connection of its own; every byte of a header is sent as it is."""
    place = urlsplit(url)
    host = (place.netloc if host is None else host.decode("latin-1")).encode("latin-1")
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: " + host, b"Connection: close"]
    lines += [f"{name}: ".encode() + value for name, value in headers]
    lines += [b"Content-Length: %d" % len(body), b"", body]
    with socket.create_connection((place.hostname or "", place.port or 80), 30) as connection:
        connection.sendall(b"\r\n".join(lines))
        with HTTPResponse(connection, method=method) as response:
            response.begin()
            return RawAnswer(response.status, tuple(response.getheaders()), response.read())


def posted(url: str, path: str, fields: Any, **more: Any) -> RawAnswer:
    return exchange(url, path, json.dumps(fields).encode(), **more)
