"""A network that can fail: forwards TCP until it is cut, then swallows everything, as a lost cable does."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

BLOCK = 65536


class Network:
    """Between whoever connects to `port` and the server behind it."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        """What was sent meanwhile arrives now."""
        self._whole.set()

    def close(self) -> None:
        self._whole.set()
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._whole.wait()
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._sockets += [client, server]
        for source, drain in ((client, server), (server, client)):
            threading.Thread(target=self._forward, args=(source, drain), daemon=True).start()

    def _forward(self, source: socket.socket, drain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK):
                self._whole.wait()
                drain.sendall(block)
        for each in (source, drain):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def network_to(url: str) -> Iterator[tuple[Network, str]]:
    """A network to the server at `url`, and its URL by that network."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    network = Network((parts.hostname, parts.port))
    try:
        netloc = parts.netloc.replace(f":{parts.port}", f":{network.port}")
        yield network, parts._replace(netloc=netloc).geturl()
    finally:
        network.close()
