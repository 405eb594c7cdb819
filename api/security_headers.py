"""Middleware: what browsers are told about every answer, and that nobody keeps answers of the API."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""What a route says itself goes before it: finished files may be kept."""
STRICT = {**ALWAYS, "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
"""Of what is no page and no picture."""
PAGE = {
    **ALWAYS,
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'unsafe-inline' https://cdn.jsdelivr.net",
            "style-src 'unsafe-inline' https://cdn.jsdelivr.net",
            "img-src data: https://fastapi.tiangolo.com",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
}
"""Of /docs: FastAPI makes it of a script from there and one of its own, and nothing in it is a client's."""
_BY_TYPE = {"application/json": STRICT, "text/plain": STRICT, "text/html": PAGE}


class SecurityHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                kind = headers.get("content-type", "").partition(";")[0]
                for name, value in _BY_TYPE.get(kind, ALWAYS).items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
