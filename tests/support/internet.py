"""An internet for tests: what names resolve to, and where connections end.

Only the socket module is replaced. One public address leads to a site of this machine, loopback is loopback,
and nothing else leaves.
"""

import contextlib
import ipaddress
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from tests.support.serving import Handler, serving

PUBLIC, ALSO_PUBLIC = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
Names = Mapping[str, Sequence[Sequence[str]]]
"""A name's addresses at each look-up in turn; the last are those of all further ones."""


class Canary:
    """Listens on loopback, and remembers who connected and what they said first."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = int(self._sockets[0].getsockname()[1])
        with contextlib.suppress(OSError):  # there may be no IPv6
            self._sockets.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        for listener in self._sockets:
            threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def close(self) -> None:
        for listener in self._sockets:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _listen(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    self.heard.append(connection.recv(4096))


class Internet:
    """`site`: the port of this machine's site that `PUBLIC` leads to."""

    def __init__(self, canary: Canary, site: int) -> None:
        self.canary = canary
        self.reached: list[str] = []
        """Addresses that were connected to, but for loopback."""
        self._site = site
        self._names: dict[str, list[Sequence[str]]] = {}
        self._look_up = socket.getaddrinfo
        self._connect = socket.socket.connect

    def name(self, names: Names) -> None:
        """Forget all that was, and let these be the names that there are."""
        known: Names = {"localhost": [["127.0.0.1", "::1"]], **names}
        self._names = {name: [*answers] for name, answers in known.items()}
        self.reached.clear()
        self.canary.heard.clear()

    @property
    def reached_elsewhere(self) -> set[str]:
        """Where connections went that may go nowhere but to the public addresses."""
        return set(self.reached) - {PUBLIC, ALSO_PUBLIC}

    def getaddrinfo(self, host: str | bytes | None, port: Any, *known: Any, **named: Any) -> list[Any]:
        answers = self._names.get(str(host).lower().removesuffix("."))
        if answers is None:  # an address in one of its spellings, else there is no such name
            named["flags"] = named.get("flags", 0) | socket.AI_NUMERICHOST
            return self._look_up(host, port, *known, **named)
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [found for each in addresses for found in self._look_up(each, port, *known, **named)]

    def connect(self, connecting: socket.socket, address: Any) -> None:
        host = ipaddress.ip_address(str(address[0]).partition("%")[0]) if isinstance(address, tuple) else None
        if host is None or host.is_loopback or host.is_unspecified:
            self._connect(connecting, address)
            return
        self.reached.append(str(host))
        if str(host) != PUBLIC:
            raise ConnectionRefusedError(f"nobody is at {host}")
        self._connect(connecting, ("127.0.0.1", self._site))


@contextlib.contextmanager
def running_internet(site: type[Handler]) -> Iterator[Internet]:
    """While the block runs, with proxies in the environment that lead to the canary."""
    canary = Canary()
    proxy = f"http://127.0.0.1:{canary.port}"
    proxies = {
        name: proxy
        for scheme in ("http", "https", "all")
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    }
    with contextlib.closing(canary), serving(site) as url:
        internet = Internet(canary, int(url.rpartition(":")[2]))

        def connect(connecting: socket.socket, address: Any) -> None:
            internet.connect(connecting, address)

        with (
            mock.patch.object(socket, "getaddrinfo", internet.getaddrinfo),
            mock.patch.object(socket.socket, "connect", connect),
            mock.patch.dict(os.environ, proxies),
        ):
            yield internet
