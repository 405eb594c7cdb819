"""The HTTP endpoint of a process that is no web server: metrics and probes, from threads of its own.

No request waits for what the process does, and none can hold it up: they are few at a time, and short.
"""

import json
import logging
import socket
import threading
from collections.abc import Iterable
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from shared.errors import Misconfigured
from shared.monitoring.health import Health

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 32
"""Requests; those beyond are hung up on."""
STALL_S = 5.0
"""A caller that says nothing, or takes nothing, for this long is hung up on."""


def listen(host: str, port: int, registry: CollectorRegistry, health: Health) -> WSGIServer:
    """Answer at this address from now on. Raises `Misconfigured` if that can't be done."""
    try:
        server = _V6Server((host, port), _Handler) if ":" in host else _Server((host, port), _Handler)
    except OSError as exc:
        raise Misconfigured(
            f"PRINTWORKS_METRICS_PORT: {host} port {port} can't be listened at ({exc.strerror}); "
            "give each process a port of its own."
        ) from exc
    server.set_app(_app(registry, health))
    threading.Thread(target=server.serve_forever, name="monitoring", daemon=True).start()
    return server


def _app(registry: CollectorRegistry, health: Health) -> "WSGIApplication":
    metrics: WSGIApplication = make_wsgi_app(registry)

    def answer(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        try:
            match environ["PATH_INFO"]:
                case "/metrics":
                    return metrics(environ, start)
                case "/health/live":
                    return _told(start, health.why_dead)
                case "/health/ready":
                    return _told(start, health.why_not_ready)
        except Exception:
            logger.exception("a monitoring request failed")
            return _refused(start, HTTPStatus.INTERNAL_SERVER_ERROR, "It can't be told.")
        return _refused(
            start, HTTPStatus.NOT_FOUND, "There are /metrics, /health/live and /health/ready here."
        )

    return answer


def _told(start: "StartResponse", trouble: str | None) -> Iterable[bytes]:
    if trouble:
        return _refused(start, HTTPStatus.SERVICE_UNAVAILABLE, trouble)
    return _json(start, HTTPStatus.OK, {"status": "ok"})


def _refused(start: "StartResponse", status: HTTPStatus, sentence: str) -> Iterable[bytes]:
    return _json(start, status, {"status": "error", "message": sentence})


def _json(start: "StartResponse", status: HTTPStatus, content: dict[str, str]) -> Iterable[bytes]:
    body = json.dumps(content).encode()
    start(
        f"{status.value} {status.phrase}",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
    )
    return [body]


class _Handler(WSGIRequestHandler):
    timeout = STALL_S

    def log_message(self, *_: object) -> None:
        """Requests come every few seconds and say nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = False  # two processes at one port would each be asked now and then
    request_queue_size = MOST_AT_ONCE

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Without asking a name server for the host's name, which may take longer than a start."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the library's
        logger.info("a monitoring request broke off")


class _V6Server(_Server):
    address_family = socket.AF_INET6
