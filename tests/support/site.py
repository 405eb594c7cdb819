"""A web site that clients' URLs point to, webhooks too: a real HTTP server; a test says what it answers."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.support.serving import Handler, Received, serving

Page = Callable[[BaseHTTPRequestHandler, threading.Event], None]
"""Writes one answer; one that never ends waits for the event, which is set when the site closes."""


@dataclass
class Site:
    url: str
    requests: list[Received] = field(default_factory=list)


def answer(
    body: bytes = b"", status: int = 200, headers: Mapping[str, str] | None = None, *, told: bool = True
) -> Page:
    """A page with these bytes; `told`: with their number in Content-Length."""

    def page(handler: BaseHTTPRequestHandler, _: threading.Event) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        if told:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return page


def redirect(location: str, status: int = 302, **headers: str) -> Page:
    return answer(status=status, headers={"Location": location, **headers})


def raw(answer: bytes) -> Page:
    """Sends exactly this and ends the connection."""

    def page(handler: BaseHTTPRequestHandler, _: threading.Event) -> None:
        handler.wfile.write(answer)

    return page


def trickle(start: bytes, every_s: float = 0.02) -> Page:
    """Sends `start`, then a byte now and then, for ever."""

    def page(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        handler.wfile.write(start)
        while not over.wait(every_s):
            handler.wfile.write(b"x")

    return page


def silence(_: BaseHTTPRequestHandler, over: threading.Event) -> None:
    """Never says a word."""
    over.wait(60)


@contextlib.contextmanager
def running_site(pages: Mapping[str, Page]) -> Iterator[Site]:
    """Serves `pages` by their paths until the block ends."""
    site, over = Site(url=""), threading.Event()

    class Pages(Handler):
        def do_GET(self) -> None:  # noqa: N802 - the library's name
            self._answer()

        def do_POST(self) -> None:  # noqa: N802 - the library's name
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes = b"") -> None:
            site.requests.append(self.received(self.path, body))
            page = pages.get(self.path.partition("?")[0], answer(status=404))
            with contextlib.suppress(OSError):  # the client may leave early
                page(self, over)

    with serving(Pages) as site.url:
        try:
            yield site
        finally:
            over.set()
