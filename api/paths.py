"""Puts right what base URLs do to paths: a slash too many makes no other endpoint."""

import re

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

_ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)
_SLASHES = re.compile(r"/{2,}")


class TidyPaths:
    """Middleware. Redirecting would not do: many clients don't follow, or follow with a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = tidied(scope["path"])  # in place: who is around this hears of the route too
        await self._app(scope, receive, send)


def tidied(path: str) -> str:
    """Without an origin (as it is sent through a proxy), double slashes and a slash at the end."""
    return _SLASHES.sub("/", _ORIGIN.sub("", path, count=1)).rstrip("/") or "/"


def route_of(scope: Scope) -> str | None:
    """The route that answers, with the prefix that its router was included with: the route itself does not
    know it. None: there is none, or the request has not come so far."""
    route = scope.get("route")
    if not isinstance(route, Route):
        return None
    found = re.search(route.path_regex.pattern.removeprefix("^"), scope["path"])
    return (scope["path"][: found.start()] if found else "") + route.path
