"""A client that sends what no library would."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from tests.hostile.target import ROOT, USER, Target

PATIENCE_S = 10.0
GOOD_BODY = b'{"key": "%s", "model_id": "demo", "prompt": "x"}' % USER.encode()


@dataclass(frozen=True)
class Wire:
    """One connection."""

    socket: socket.socket

    def send(self, *pieces: bytes) -> None:
        """As far as the other side takes it."""
        with contextlib.suppress(OSError):
            for piece in pieces:
                self.socket.sendall(piece)

    def read_all(self) -> bytes:
        """Until the other side closes; raises `TimeoutError` if it doesn't."""
        return b"".join(self._chunks())

    def read_until(self, words: bytes) -> bytes:
        read = b""
        while words not in read and (chunk := self.socket.recv(65536)):
            read += chunk
        return read

    def _chunks(self) -> Iterator[bytes]:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while chunk := self.socket.recv(65536):
                yield chunk


@contextlib.contextmanager
def wired(target: Target) -> Iterator[Wire]:
    with socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE_S) as connection:
        yield Wire(connection)


def head(*lines: str, method: str = "POST", path: str = f"{ROOT}/text2img") -> bytes:
    """Of a request to the gateway, with these lines besides."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *lines, "", "")).encode("latin-1")


def request(body: bytes = GOOD_BODY) -> bytes:
    """A whole good one."""
    return head(f"Content-Length: {len(body)}") + body
