"""Addresses of this machine: free ports, and ports that are taken."""

import socket
from contextlib import ExitStack

from shared.errors import Misconfigured


def free_port(preferred: int = 0) -> int:
    """`preferred` if nothing listens there, else any free port of loopback."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """Of loopback, each another one."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def require_port(host: str, port: int) -> None:
    """Raises `Misconfigured` with one sentence if nothing can listen there."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "the port must be 0 to 65535"
        raise Misconfigured(
            f"Can't listen on {host}:{port} ({reason}): choose another PORT or HOST."
        ) from exc
