"""Middleware: counts and times every request for Prometheus."""

import time
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.context import Gateway
from api.paths import route_of


class Counting:
    """Until an answer begins; how long a client takes to read it is not ours. Not of BaseHTTPMiddleware: that
    passes every body and answer through a second task, which costs time and hides who has hung up."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                _count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception:  # answered around all middlewares, in api/errors.py
            _count(scope, HTTPStatus.INTERNAL_SERVER_ERROR, time.perf_counter() - began)
            raise


def _count(scope: Scope, status: int, seconds: float) -> None:
    gateway: Gateway = scope["app"].state.gateway
    route = route_of(scope) or "none"
    gateway.metrics.requests.labels(route=route, status=int(status)).inc()
    gateway.metrics.request_seconds.labels(route=route).observe(seconds)
