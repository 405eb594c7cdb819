"""The one way out: HTTP to addresses that clients name (webhooks, pictures, models).

A host is resolved once, every address it has must be public, and the connection goes to the address that was
checked, so a name can't point elsewhere between the check and the use. Redirects are not followed here.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import httpx

from shared.errors import BadRequest, RefusedAddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_DOCUMENTATION = ipaddress.ip_network("3fff::/20")
_PROTOCOL_ASSIGNMENTS = ipaddress.ip_network("192.0.0.0/24")
CONNECT_TIMEOUT_S = 5.0
_LOOK_UPS = ThreadPoolExecutor(64, "look-ups")
"""Of their own: names that are slow to resolve would otherwise occupy the threads that others need."""


def check_url(url: str, allowed_private_hosts: Collection[str]) -> None:
    """Refuse what can be refused without a look-up; raises `RefusedAddress` with words for the client."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise RefusedAddress("must be an http or https URL") from None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in url):
        raise RefusedAddress("must be an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise RefusedAddress("must not hold a user name or a password")
    if host in allowed_private_hosts:
        return
    if host == "localhost" or host.endswith(".localhost"):
        raise RefusedAddress("must be a public address; this one is private")
    literal = _literal(host)
    if literal is not None and not is_public(literal):
        raise RefusedAddress("must be a public address; this one is private")


def require_url(field: str, url: str, allowed_private_hosts: Collection[str]) -> None:
    """The same for what a field of a request holds: raises `BadRequest` that names the field."""
    try:
        check_url(url, allowed_private_hosts)
    except RefusedAddress as exc:
        raise BadRequest(f"{field} {exc.detail}") from None


def is_public(address: Address) -> bool:
    """Whether a stranger may make us connect there. IPv6 forms that carry an IPv4 address count as that."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and address not in _PROTOCOL_ASSIGNMENTS
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    carried = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if carried is not None:
        return is_public(carried)
    return address.is_global and address in _GLOBAL_UNICAST and address not in _DOCUMENTATION


def _literal(host: str) -> Address | None:
    """The address that `host` spells, in any form that the C library reads (`127.1`, `0x7f000001`)."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Connects only to addresses that were checked, keeping the host's name for TLS and the Host header."""

    def __init__(self, allowed_private_hosts: Collection[str], tls: ssl.SSLContext) -> None:
        # No connection is kept: two names may share an address, and TLS was checked for one of them only.
        limits = httpx.Limits(max_keepalive_connections=0)
        super().__init__(verify=tls, trust_env=False, limits=limits)
        self._allowed = frozenset(allowed_private_hosts)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Tries the host's addresses in turn; raises `RefusedAddress` if any of them is private."""
        host = request.url.host
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
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look_up)
        except (OSError, UnicodeError) as exc:
            raise httpx.ConnectError(f"{host} can't be resolved") from exc
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        if host not in self._allowed and not all(is_public(address) for address in addresses):
            raise RefusedAddress("must be a public address; this one is private")
        return [str(address) for address in addresses]


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
