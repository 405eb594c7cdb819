"""The one way out: HTTP to addresses that clients name (webhooks, pictures, models).

A host is resolved once, every address it has must be public, and the connection goes to the address that was
checked, so a name can't point elsewhere between the check and the use. Redirects are not followed here.
"""

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

import httpx

from shared.errors import RefusedAddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


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


def is_public(address: Address) -> bool:
    """Whether a stranger may make us connect there. Looks through IPv6 forms that carry an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(inner):
            return False
    return address.is_global and not address.is_multicast


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


class GuardedTransport(httpx.HTTPTransport):
    """Connects only to addresses that were checked, keeping the host's name for TLS and the Host header."""

    def __init__(self, allowed_private_hosts: Collection[str]) -> None:
        # No connection is kept: two names may share an address, and TLS was checked for one of them only.
        super().__init__(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
        self._allowed = frozenset(allowed_private_hosts)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        address = self._resolve(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        request.url = request.url.copy_with(host=address)
        request.extensions = {**request.extensions, "sni_hostname": host}
        return super().handle_request(request)

    def _resolve(self, host: str, port: int) -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            raise httpx.ConnectError(f"{host} can't be resolved") from exc
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        if host not in self._allowed and not all(is_public(address) for address in addresses):
            raise RefusedAddress("must be a public address; this one is private")
        return str(addresses[0])


def guarded_client(allowed_private_hosts: Collection[str], *, timeout_s: float) -> httpx.Client:
    """An HTTP client for URLs that come from outside. Safe to share between threads."""
    return httpx.Client(
        transport=GuardedTransport(allowed_private_hosts),
        timeout=timeout_s,
        follow_redirects=False,
        headers={"User-Agent": "Printworks"},
    )
