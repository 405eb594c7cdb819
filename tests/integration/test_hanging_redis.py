"""A Redis that hangs: what it does when it comes to itself is only what somebody still waits for."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from shared import ledger
from shared.broker import GENERATE_TASK, make_celery
from shared.errors import LedgerUnavailable
from shared.ledger import AsyncLedger, Ledger
from shared.ledger.client import PERISHES_S, SOCKET_TIMEOUT_S
from shared.settings import Settings
from tests.support.jobs import accepting
from tests.support.processes import running_redis
from worker.task_events import MOST_WAITING, TaskEvents


@dataclass(frozen=True)
class Server:
    """A Redis of its own."""

    url: str
    pid: int

    def hang(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def leases(self) -> int:
        with redis.Redis.from_url(self.url) as client:
            return int(client.zcard("pw:leases"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_redis(tmp_path / "redis") as url:
        with redis.Redis.from_url(url, decode_responses=True) as client:
            pid = int(client.info("server")["process_id"])
        yield Server(url, pid)


def test_a_job_that_was_refused_because_redis_hung_is_not_accepted_later(
    server: Server, settings: Settings
) -> None:
    async def refused() -> int:
        store = AsyncLedger(server.url)
        await store.run(accepting(settings))
        server.hang()
        try:
            with pytest.raises(LedgerUnavailable):
                await store.run(accepting(settings))
        finally:
            server.go_on()
        stats = await store.run(ledger.stats())
        await store.close()
        return stats.totals["accepted"]

    assert asyncio.run(refused()) == 1


def test_a_claim_that_redis_has_not_heard_in_time_takes_no_job_that_nobody_makes(
    server: Server, settings: Settings
) -> None:
    store, call = Ledger(server.url), ledger.claim("worker", "token", settings, ())
    store.run(call)  # so that the server has the script
    for _ in range(3):
        store.run(accepting(settings))
    claims: list[ledger.Claim | None] = []
    slot = threading.Thread(target=lambda: claims.append(store.run(call)))

    server.hang()
    try:
        slot.start()
        slot.join(SOCKET_TIMEOUT_S + 1)  # it has asked once, and asks again
    finally:
        server.go_on()
    slot.join()
    store.close()

    assert SOCKET_TIMEOUT_S > PERISHES_S
    (claimed,) = claims
    assert claimed is not None
    assert server.leases() == 1


def test_when_the_servers_clock_was_set_calls_go_on(store: Ledger, settings: Settings) -> None:
    store.run(accepting(settings))
    store._clock.set(1_000_000_000, 0)  # as if it had been 2001 a moment ago

    assert store.run(accepting(settings)).is_new


def test_a_slot_never_waits_for_flower_to_be_told(server: Server) -> None:
    events = TaskEvents(make_celery(server.url, "tests"), GENERATE_TASK, "tests")

    def tell() -> None:
        for number in range(MOST_WAITING):
            events.started(f"job-{number}", job=number)

    slot = threading.Thread(target=tell, daemon=True)
    server.hang()
    try:
        slot.start()
        slot.join(5)
        assert not slot.is_alive()
    finally:
        server.go_on()
        events.close()
