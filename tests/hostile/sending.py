"""Sends many requests quickly, over connections that are kept, from a few threads."""

import contextlib
import http.client
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.hostile.judging import complaint
from tests.hostile.target import Target

THREADS = 4
TIMEOUT_S = 20
SAFE = "/%?&=:@"


@dataclass(frozen=True)
class Attack:
    """One request. `chunks`: of how many bytes its body's pieces are; 0 sends it whole."""

    name: str
    method: str
    path: str
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: int = 0
    is_api: bool = True


class Attacker:
    """Of one port; each thread has a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._own = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def complaints(self, attacks: Iterable[Attack]) -> list[str]:
        """Send them all; what was wrong with the answers."""
        with ThreadPoolExecutor(THREADS) as pool:
            return [each for each in pool.map(self.complaint, attacks) if each]

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def complaint(self, attack: Attack) -> str:
        try:
            status, headers, content = self.answer(attack)
            wrong = (
                complaint(status, headers, content, is_api=attack.is_api) if attack.method != "HEAD" else ""
            )
        except (OSError, http.client.HTTPException, ValueError) as exc:
            self._own.connection = None
            wrong = repr(exc)
        return wrong and f"{attack.method} {attack.path[:80]}, {attack.name}: {wrong}"

    def answer(self, attack: Attack) -> tuple[int, dict[str, str], bytes]:
        """Its status, headers by their names in lower case, and body."""
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
            self._own.connection = connection
            self._connections.append(connection)
        connection.putrequest(
            attack.method, quote(attack.path, SAFE), skip_accept_encoding=True, skip_host=True
        )
        for name, value in ({"Host": f"127.0.0.1:{self._port}"} | dict(attack.headers)).items():
            connection.putheader(name, value.encode("latin-1"))
        if attack.chunks:
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(_pieces(attack), encode_chunked=True)
        else:
            connection.putheader("Content-Length", str(len(attack.content)))
            connection.endheaders(attack.content)
        response = connection.getresponse()
        content = response.read()
        if response.will_close:
            connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, content


@contextlib.contextmanager
def attacking(target: Target) -> Iterator[Attacker]:
    attacker = Attacker(target.port)
    try:
        yield attacker
    finally:
        attacker.close()


def _pieces(attack: Attack) -> Iterator[bytes]:
    return (
        attack.content[start : start + attack.chunks]
        for start in range(0, len(attack.content), attack.chunks)
    )
