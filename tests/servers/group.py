"""Servers that are each other's peers: each a whole installation, with Redis, gateway and workers."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from deploy.ports import free_port
from shared.settings import Peer
from tests.chaos.installation import API_KEY, WORKER, Installation, attacked
from tests.support.waiting import wait_until

ROOT = "/api/v1/enterprise"
NAMES = ("first", "second", "third")


@dataclass(frozen=True)
class Group:
    """By their names."""

    servers: Mapping[str, Installation]

    @property
    def first(self) -> Installation:
        """The one that clients ask."""
        return self.servers["first"]

    def peers_of(self, name: str) -> dict[str, dict[str, Any]]:
        """How a server sees the others."""
        said = post(self.servers[name], "peers")
        return {each["name"]: each for each in said["peers"]}

    def in_rotation(self, name: str = "first") -> set[str]:
        return {peer for peer, seen in self.peers_of(name).items() if seen["in_rotation"]}

    def all_in_rotation(self, name: str, others: set[str]) -> bool:
        return self.in_rotation(name) == others


@contextlib.contextmanager
def group(
    folder: Path,
    *,
    worker_apps: Mapping[str, Sequence[str]] | None = None,
    names: Sequence[str] = NAMES,
    **changes: Any,
) -> Iterator[Group]:
    """All of them know each other and are in rotation. `worker_apps`: other workers than one of the usual, by
    server; `changes` are settings of all."""
    ports = {name: free_port() for name in names}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    with contextlib.ExitStack() as stack:
        servers = {}
        for name in names:
            peers = {other: Peer(url=urls[other], key=API_KEY) for other in names if other != name}
            installation = attacked(
                folder / name,
                ports=[ports[name]],
                worker_apps=(worker_apps or {}).get(name, (WORKER,)),
                **{"server_name": name, "peers": peers} | changes,
            )
            servers[name] = stack.enter_context(installation)
        made = Group(servers)
        for name in names:
            others = set(names) - {name}
            wait_until(partial(made.all_in_rotation, name, others), within_s=30)
        yield made


def post(server: Installation, path: str, **fields: Any) -> dict[str, Any]:
    """A request as a client of the server sends it."""
    body = {"key": API_KEY, **fields}
    answer = httpx.post(f"{server.urls[0]}{ROOT}/{path}", json=body, timeout=60, trust_env=False)
    said: dict[str, Any] = answer.json()
    return said
