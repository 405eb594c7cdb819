"""A webhook's receiver: a real HTTP server that answers as it is told and remembers what came."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.support.serving import Handler, Received, serving


@dataclass
class Receiver:
    """Answers `statuses` in turn, then 200 for ever."""

    url: str
    requests: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, request: Received) -> int:
        with self._lock:
            self.requests.append(request)
            return self.statuses.pop(0) if self.statuses else 200


@contextlib.contextmanager
def running_drip(every_s: float = 0.05) -> Iterator[str]:
    """A receiver that answers one byte at a time and never ends; yields its URL."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not over.wait(every_s):
                    self.request.sendall(b"x")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        over.set()
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def running_receiver(
    statuses: Sequence[int] = (), headers: dict[str, str] | None = None, port: int = 0
) -> Iterator[Receiver]:
    receiver = Receiver(url="", statuses=list(statuses), headers=headers or {})

    class Hook(Handler):
        def do_POST(self) -> None:  # noqa: N802 - the library's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(receiver.note(self.received(self.path, body)))
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Hook, port) as url:
        receiver.url = f"{url}/hook"
        yield receiver
