"""The way out by HTTP, to URLs that clients name (webhooks, pictures, models).

A host is resolved once for each connection, every address it has must be public (shared/addresses.py), and
the connection goes to an address that was checked, so a name can't point elsewhere between the check and the
use. Redirects are not followed here.
"""

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import httpx
import idna

from shared.addresses import look_up, require_public
from shared.errors import BadRequest, RefusedAddress

CONNECT_TIMEOUT_S = 5.0
LONGEST_HOST = 253
_LOOK_UPS = ThreadPoolExecutor(64, "look-ups")
"""Of their own: names that are slow to resolve would otherwise occupy the threads that others need."""
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
NO_URL = "must be an http or https URL"
NO_HOST = "must name its host by letters, digits, dots and hyphens, or by its address"


def check_url(url: str, allowed_private_hosts: Collection[str]) -> None:
    """Refuse what can be refused without a look-up; raises `RefusedAddress` with words for the client.

    What passes has a host that every library reads alike.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RefusedAddress(NO_URL) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or _UNSEEN.search(url):
        raise RefusedAddress(NO_URL)
    if "@" in parts.netloc:
        raise RefusedAddress("must not hold a user name or a password")
    require_public(_looked_up_as(host), allowed_private_hosts)


def _looked_up_as(host: str) -> str:
    """What other scripts and their dots become before they are looked up."""
    try:
        name = host if host.isascii() else idna.encode(host).decode()
        is_name = len(name) <= LONGEST_HOST and _NAME.fullmatch(name)
        if is_name or ipaddress.IPv6Address(name).scope_id is None:
            return name
    except ValueError:  # idna's errors too
        pass
    raise RefusedAddress(NO_HOST)


def require_url(field: str, url: str, allowed_private_hosts: Collection[str]) -> None:
    """The same for what a field of a request holds: raises `BadRequest` that names the field."""
    try:
        check_url(url, allowed_private_hosts)
    except RefusedAddress as exc:
        raise BadRequest(f"{field} {exc.detail}") from None


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Connects only to addresses that were checked, keeping the host's name for TLS and the Host header."""

    def __init__(self, allowed_private_hosts: Collection[str], tls: ssl.SSLContext) -> None:
        # No connection is kept: two names may share an address, and TLS was checked for one of them only.
        limits = httpx.Limits(max_keepalive_connections=0)
        super().__init__(verify=tls, trust_env=False, limits=limits)
        self._allowed = frozenset(allowed_private_hosts)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Tries the host's addresses in turn; raises `RefusedAddress` if any of them is private."""
        host = request.url.raw_host.decode("ascii")
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        addresses = await self._resolve(host, port)
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in addresses[:-1]:
            request.url = request.url.copy_with(host=address)
            try:
                return await super().handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        request.url = request.url.copy_with(host=addresses[-1])
        return await super().handle_async_request(request)

    async def _resolve(self, host: str, port: int) -> list[str]:
        look = partial(look_up, host, port, self._allowed)
        try:
            return await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look)
        except OSError as exc:
            raise httpx.ConnectError(f"{host} can't be resolved") from exc


class Outbound:
    """Makes HTTP clients for URLs that come from outside; safe to share between threads."""

    def __init__(self, allowed_private_hosts: Collection[str]) -> None:
        self._allowed = frozenset(allowed_private_hosts)
        self._tls = httpx.create_ssl_context(trust_env=False)

    def client(self) -> httpx.AsyncClient:
        """A client for one exchange. It only bounds the connecting: the caller bounds the whole, because
        a peer that sends a byte now and then never runs into a time-out per read."""
        return httpx.AsyncClient(
            transport=GuardedTransport(self._allowed, self._tls),
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            follow_redirects=False,
            headers={"User-Agent": "Printworks"},
        )
