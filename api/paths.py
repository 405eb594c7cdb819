"""Puts right what base URLs do to paths: a slash too many makes no other endpoint."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)
_SLASHES = re.compile(r"/{2,}")


class TidyPaths:
    """Middleware. Redirecting would not do: many clients don't follow, or follow with a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": tidied(scope["path"])}
        await self._app(scope, receive, send)


def tidied(path: str) -> str:
    """Without an origin (as it is sent through a proxy), double slashes and a slash at the end."""
    return _SLASHES.sub("/", _ORIGIN.sub("", path, count=1)).rstrip("/") or "/"
