"""Several servers on this machine that give each other jobs: `make run-cluster`, to try `loadbalancer` out.

The options are those of `make run`, and SERVERS; each server has what is its own below DATA_DIR. Prints
`ready http://HOST:PORT`, the URL of the first, when all are up and would give jobs to all others.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

from deploy.gpus import gpus, workers_of
from deploy.launcher import launch, launching
from deploy.ports import free_ports
from deploy.server import Options, kept_secret, owned
from shared.api_keys import ApiKey, Role, digest
from shared.api_keys.file import changing_keys
from shared.errors import Misconfigured

KEYS_ARE = "run-cluster"
"""Name of the keys that are made here; others that are in a server's file stay."""
EACH_SERVERS_OWN = ("REDIS_URL", "PRINTWORKS_API_KEYS_FILE", "PRINTWORKS_PEERS", "PRINTWORKS_SERVER_NAME")


def main() -> None:
    with launching(), ExitStack() as stack:
        asked = Options.from_environment("./data-cluster")
        servers = planned(asked, os.environ, gpus())
        for server in servers:
            stack.enter_context(owned(server.data_dir))
        launch(acquainted(servers))


def planned(asked: Options, environment: Mapping[str, str], found: Sequence[str]) -> list[Options]:
    """Each with a name, a port, a folder and GPUs of its own. Raises `Misconfigured`."""
    count = number_of_servers(environment.get("SERVERS") or "3")
    if given := [name for name in EACH_SERVERS_OWN if environment.get(name)]:
        raise Misconfigured(f"{', '.join(given)} can't be for several servers: each has its own; unset it.")
    ports = range(asked.port, asked.port + count) if asked.port else free_ports(count)
    devices = workers_of(found, count)
    threads = _threads(sum(map(_is_on_cpu, devices)), environment)
    return [
        replace(
            asked,
            name=f"server-{number}",
            port=port,
            data_dir=asked.data_dir / f"server-{number}",
            flower_port=asked.flower_port if number == 1 else None,
            devices=its_devices,
            settings=threads if _is_on_cpu(its_devices) else {},
        )
        for number, port, its_devices in zip(range(1, count + 1), ports, devices, strict=True)
    ]


def _is_on_cpu(devices: Sequence[str | None]) -> bool:
    return not any(devices)


def _threads(servers: int, environment: Mapping[str, str]) -> dict[str, str]:
    """For each of so many servers on the CPU, which share its cores but one; the environment may say it."""
    if not servers or environment.get("PRINTWORKS_CPU_THREADS"):
        return {}
    return {"cpu_threads": str(max(1, ((os.cpu_count() or 1) - 1) // servers))}


def number_of_servers(word: str) -> int:
    """Raises `Misconfigured`."""
    if word.isascii() and word.isdigit() and int(word) >= 2:
        return int(word)
    raise Misconfigured(f"SERVERS must be a whole number of at least 2, not {word!r}: make run starts one.")


def acquainted(servers: Sequence[Options]) -> list[Options]:
    """Each the others' peer, with a key that the launcher has made for it. Their folders are there."""
    keys = {server.name: kept_secret(server.data_dir / "peer-key") for server in servers}
    return [_with_peers(server, servers, keys) for server in servers]


def _with_peers(server: Options, servers: Sequence[Options], keys: Mapping[str, str]) -> Options:
    others = [other for other in servers if other is not server]
    file = server.data_dir / "keys.json"
    with changing_keys(file, may_be_new=True) as entries:
        entries[:] = [entry for entry in entries if entry.name != KEYS_ARE]
        entries += [_entry(other.name, keys[other.name]) for other in others]
    peers = {other.name: {"url": other.url, "key": keys[server.name]} for other in others}
    settings = {"server_name": server.name, "peers": json.dumps(peers), "api_keys_file": str(file)}
    return replace(server, peers=tuple(peers), settings={**server.settings, **settings})


def _entry(tenant: str, key: str) -> ApiKey:
    now = datetime.now(UTC)
    return ApiKey(tenant=tenant, name=KEYS_ARE, sha256=digest(key), role=Role.PEER, created_at=now)


if __name__ == "__main__":
    main()
