"""Real HTTP servers that tests talk to."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


class Handler(BaseHTTPRequestHandler):
    """Of a quiet server."""

    def received(self, path: str, body: bytes = b"") -> Received:
        return Received(path, {name.lower(): value for name, value in self.headers.items()}, body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 64


@contextlib.contextmanager
def serving(handler: type[Handler], port: int = 0) -> Iterator[str]:
    """Answers on a port of this machine, by default a free one, until the block ends; yields the URL."""
    server = _Server(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
