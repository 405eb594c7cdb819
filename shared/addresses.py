"""The one rule about hosts that strangers name: which addresses we connect to.

Every client that goes out looks hosts up here and connects to what it is given: HTTP by shared/outbound.py,
S3 by shared/storage/guarded.py.
"""

import ipaddress
import socket
from collections.abc import Collection

from shared.errors import RefusedAddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PRIVATE = "must be a public address; this one is private"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_DOCUMENTATION = ipaddress.ip_network("3fff::/20")
_PROTOCOL_ASSIGNMENTS = ipaddress.ip_network("192.0.0.0/24")
_AZURES_HOST = ipaddress.ip_address("168.63.129.16")
"""Looks public, and is the machine below each virtual one: it gives out keys."""


def is_public(address: Address) -> bool:
    """Whether a stranger may make us connect there. IPv6 forms that carry an IPv4 address count as that."""
    if isinstance(address, ipaddress.IPv4Address):
        is_special = address in _PROTOCOL_ASSIGNMENTS or address == _AZURES_HOST
        return address.is_global and not address.is_multicast and not is_special
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    carried = address.ipv4_mapped or address.sixtofour
    if carried is not None:
        return is_public(carried)
    return address.is_global and address in _GLOBAL_UNICAST and address not in _DOCUMENTATION


def spelled(host: str) -> Address | None:
    """The address that `host` spells, in any form that the C library reads (`127.1`, `0x7f000001`)."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError, ValueError):
        return None


def require_public(host: str, allowed_private_hosts: Collection[str]) -> None:
    """Refuse what can be refused without a look-up. Raises `RefusedAddress`."""
    if host in allowed_private_hosts:
        return
    name = host.removesuffix(".")
    address = spelled(name)
    is_local = name == "localhost" or name.endswith(".localhost")
    if is_local or (address is not None and not is_public(address)):
        raise RefusedAddress(PRIVATE)


def look_up(host: str, port: int, allowed_private_hosts: Collection[str]) -> list[str]:
    """All addresses of the host; each may be connected to now, and none is to be looked up again. Blocks.

    Raises `RefusedAddress` if any of them is private, `OSError` if there is no such host.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise socket.gaierror(socket.EAI_NONAME, f"{host[:100]} can't be the name of a host") from exc
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if host not in allowed_private_hosts and not all(map(is_public, addresses)):
        raise RefusedAddress(PRIVATE)
    return [str(address) for address in dict.fromkeys(addresses)]
