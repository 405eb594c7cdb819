"""Middleware: every request is a span, in the trace of who has sent it."""

from http import HTTPStatus

from opentelemetry.trace import Span, SpanKind
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.balancing.wire import PATH
from api.paths import route_of
from shared.spans import LONGEST_HEADER, failed, span

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
"""Any other is a stranger's word."""
UNTRACED = ("/health/", "/metrics", f"{PATH}/state")
"""Asked every few seconds by programs, which learn nothing from it."""


class Tracing:
    """Until an answer is sent. Of a request there is the route: its path, query and body may hold secrets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(UNTRACED):
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with span(
            "HTTP", SpanKind.SERVER, parent=_sent_with(Headers(scope=scope)), attributes=attributes
        ) as one:

            async def send_traced(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note(one, method, scope, int(message["status"]))
                await send(message)

            await self._app(scope, receive, send_traced)


def _sent_with(headers: Headers) -> dict[str, str]:
    """The sender's context. What is no such thing is as if it had not been sent."""
    (parent, *others), state = headers.getlist("traceparent") or [""], ",".join(headers.getlist("tracestate"))
    if others or len(parent) > LONGEST_HEADER:
        return {}
    return {"traceparent": parent} | ({"tracestate": state} if 0 < len(state) <= LONGEST_HEADER else {})


def _note(one: Span, method: str, scope: Scope, status: int) -> None:
    route = route_of(scope)
    one.update_name(f"{method} {route}" if route else method)
    if route:
        one.set_attribute("http.route", route)
    one.set_attribute("http.response.status_code", status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        failed(one, str(status))
