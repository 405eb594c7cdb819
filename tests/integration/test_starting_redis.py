"""A Redis that has only just been started."""

import math
from pathlib import Path

import redis

from deploy.embedded_redis import EmbeddedRedis, embedded_redis, wait_for_redis
from deploy.ports import free_port
from tests.support.processes import running

KEYS = 8000
"""A server that reads its file looks after its clients every 1024 keys."""
SLOWLY = b"key-load-delay 100\n"
"""So many microseconds for each key that it reads."""


def test_a_server_that_still_reads_its_file_is_waited_for(tmp_path: Path) -> None:
    server, log = embedded_redis(tmp_path, free_port()), tmp_path / "redis.log"
    fill(server, log)

    with running(server.command.words, log, stdin=server.configuration + SLOWLY):
        wait_for_redis(server.url)

        with redis.Redis.from_url(server.url) as client:
            assert not client.info()["loading"]


def fill(server: EmbeddedRedis, log: Path) -> None:
    with running(server.command.words, log, stdin=server.configuration):
        wait_for_redis(server.url)
        with redis.Redis.from_url(server.url) as client, client.pipeline(transaction=False) as pipeline:
            for number in range(KEYS):
                pipeline.set(f"key {number}", "x")
            pipeline.execute()


def test_why_a_server_is_waited_for_is_told_once() -> None:
    told, looks = list[str](), iter(range(10))
    nowhere = f"redis://:a-password@127.0.0.1:{free_port()}/0"

    wait_for_redis(nowhere, math.inf, give_up=lambda: next(looks) > 5, tell=told.append)

    (reason,) = told
    assert reason.startswith("waiting for Redis: ")
    assert "a-password" not in reason
