"""A group of real Redis servers with a Sentinel that makes a replica the master when the master dies."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import redis

from deploy.embedded_redis import embedded_redis
from deploy.ports import free_ports
from tests.support.processes import running
from tests.support.waiting import wait_until

PASSWORD = "p@ss/word:of;the group"  # what must be quoted in a URL
SENTINEL_PASSWORD = "word-of-the-sentinel"
DOWN_AFTER_MS = 500


@dataclass(frozen=True)
class Group:
    """`url` is what PRINTWORKS_REDIS_URL says of it."""

    url: str
    master: subprocess.Popen[bytes]
    ports: tuple[int, int]

    def kill_master(self) -> None:
        """kill -9, when all it had been told has reached the replica."""
        with redis.Redis(port=self.ports[0], password=PASSWORD) as master:
            master.ping()
            wait_until(lambda: master.execute_command("WAIT", 1, 1000) == 1)
        self.master.kill()

    def is_failed_over(self) -> bool:
        with redis.Redis(port=self.ports[1], password=PASSWORD, decode_responses=True) as replica:
            return bool(replica.info("replication")["role"] == "master")


@contextlib.contextmanager
def running_group(folder: Path) -> Iterator[Group]:
    """Master, replica and one Sentinel."""
    first, second, sentinel = free_ports(3)
    binary = embedded_redis(folder, first).command.words[0]
    common = [
        "--requirepass",
        PASSWORD,
        "--masterauth",
        PASSWORD,
        "--save",
        "",
        "--repl-diskless-sync-delay",
        "0",
    ]
    durable = [*common, "--appendonly", "yes", "--maxmemory-policy", "noeviction"]

    def server(port: int, *more: str) -> list[str]:
        place = folder / str(port)
        place.mkdir()
        return [binary, "--port", str(port), "--dir", str(place), *durable, *more]

    with (
        running(server(first), folder / "first.log") as master,
        running(server(second, "--replicaof", f"127.0.0.1 {first}"), folder / "second.log"),
        redis.Redis(port=first, password=PASSWORD) as told,
    ):
        wait_until(lambda: _has_a_replica(told), within_s=30)  # a Sentinel asks again only every ten seconds
        with running(_sentinel(binary, folder, sentinel, first), folder / "sentinel.log"):
            wait_until(lambda: _knows_a_replica(sentinel), within_s=30)
            hosts = f"127.0.0.1:{sentinel}"
            url = f"redis+sentinel://:{quote(PASSWORD, safe='')}@{hosts}/images/0"
            yield Group(f"{url}?sentinel_password={SENTINEL_PASSWORD}", master, (first, second))


def _has_a_replica(master: redis.Redis) -> bool:
    try:
        return bool(master.info("replication")["connected_slaves"])
    except redis.RedisError:
        return False


def _sentinel(binary: str, folder: Path, port: int, master: int) -> list[str]:
    """It writes into its own configuration."""
    file = folder / "sentinel.conf"
    file.write_text(
        f"port {port}\n"
        f"dir {folder}\n"
        f"requirepass {SENTINEL_PASSWORD}\n"
        f"sentinel monitor images 127.0.0.1 {master} 1\n"
        f'sentinel auth-pass images "{PASSWORD}"\n'
        f"sentinel down-after-milliseconds images {DOWN_AFTER_MS}\n"
        "sentinel failover-timeout images 5000\n"
    )
    return [binary, str(file), "--sentinel"]


def _knows_a_replica(port: int) -> bool:
    try:
        with redis.Redis(port=port, password=SENTINEL_PASSWORD, decode_responses=True) as sentinel:
            return bool(sentinel.info("sentinel")["master0"]["slaves"])
    except redis.RedisError:
        return False
