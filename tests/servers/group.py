"""Servers that are each other's peers: each a whole installation, with Redis, gateway and workers."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from deploy.ports import free_port
from shared.api_keys import ApiKey, Role, digest
from shared.settings import Peer
from tests.chaos.installation import API_KEY, WORKER, Installation, attacked
from tests.support.nursery import nursery
from tests.support.waiting import wait_until

ROOT = "/api/v1/enterprise"
NAMES = ("first", "second", "third")
PEER_KEY = "what the servers know each other by"
USER_KEY = "the key of somebody who only makes pictures"


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

    def jobs_at(self, peer: str) -> int:
        """How many of the first server's jobs are there."""
        return int(self.peers_of("first")[peer]["jobs_there"])

    def wait_until_whole(self, within_s: float = 60) -> None:
        """Every server is, and sees each of the others that has workers in rotation."""
        able = {name for name, server in self.servers.items() if any(w.wanted for w in server.workers)}
        for name, server in self.servers.items():
            server.wait_until_whole(within_s)
            wait_until(partial(self._sees, name, able - {name}), within_s)

    def _sees(self, name: str, able: set[str]) -> bool:
        return self.in_rotation(name) == able

    def all_in_rotation(self, name: str, others: set[str]) -> bool:
        return self.in_rotation(name) == others


@contextlib.contextmanager
def group(
    folder: Path,
    *,
    worker_apps: Mapping[str, Sequence[str]] | None = None,
    changes_of: Mapping[str, Mapping[str, Any]] | None = None,
    names: Sequence[str] = NAMES,
    **changes: Any,
) -> Iterator[Group]:
    """All of them know each other, and those with workers are in rotation. `worker_apps`: other workers than
    one of the usual, by server; `changes` are settings of all, `changes_of` those of one."""
    ports = {name: free_port() for name in names}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    common: dict[str, Any] = {
        "api_keys_file": _keys_file(folder),
        "secret_key": "a secret of the tests",
    } | changes
    installations = {}
    for name in names:
        others = {other: Peer(url=urls[other], key=PEER_KEY) for other in names if other != name}
        installations[name] = attacked(
            folder / name,
            ports=[ports[name]],
            worker_apps=(worker_apps or {}).get(name, (WORKER,)),
            **common | {"server_name": name, "peers": others, **(changes_of or {}).get(name, {})},
        )
    with _all_of(installations) as servers:
        made = Group(servers)
        made.wait_until_whole()
        yield made


@contextlib.contextmanager
def _all_of(
    installations: Mapping[str, contextlib.AbstractContextManager[Installation]],
) -> Iterator[dict[str, Installation]]:
    """Started side by side: most of a start is waiting."""
    nursery()
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(installations)) as pool:

        def enter(name: str) -> Installation:
            installation = installations[name].__enter__()
            stack.push(installations[name])
            return installation

        yield dict(zip(installations, pool.map(enter, installations), strict=True))


def _keys_file(folder: Path) -> Path:
    """With a key for servers and one for users; the admin's is in the settings."""
    keys = [
        ApiKey(tenant="servers", sha256=digest(PEER_KEY), role=Role.PEER),
        ApiKey(tenant="somebody", sha256=digest(USER_KEY)),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "keys.json"
    file.write_text(json.dumps([key.model_dump(mode="json") for key in keys]))
    return file


def post(server: Installation, path: str, **fields: Any) -> dict[str, Any]:
    """A request as a client of the server sends it."""
    body = {"key": API_KEY, **fields}
    answer = httpx.post(f"{server.urls[0]}{ROOT}/{path}", json=body, timeout=60, trust_env=False)
    said: dict[str, Any] = answer.json()
    return said


def peer_of(server: Installation, job_id: int) -> str:
    """To whom the server has given the job, as it last did; empty if it never has."""
    with server.raw() as raw:
        return str(raw.hget(f"pw:job:{job_id}", "peer") or "")
