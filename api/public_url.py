"""Under which URL a client reaches this server: every link in an answer begins with it."""

import re

from fastapi import Request

from api.context import Gateway
from shared.settings import host_in_url

LONGEST_HOST = 253 + len(":65535")
_HOST = re.compile(r"[A-Za-z0-9._-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")


def public_url(gateway: Gateway, request: Request) -> str:
    """Scheme and host as the client used them; a Host header that is no host is not repeated."""
    if gateway.settings.public_url:
        return gateway.settings.public_url.rstrip("/")
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    host = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
    if scheme not in ("http", "https") or len(host) > LONGEST_HOST or not _HOST.fullmatch(host):
        scheme, host = "http", f"{host_in_url(gateway.settings.host)}:{gateway.settings.port}"
    return f"{scheme}://{host}"
