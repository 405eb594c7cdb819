"""How processes reach the broker."""

import contextlib
from pathlib import Path
from typing import Any

from kombu.entity import Queue
from kombu.exceptions import OperationalError
from kombu.messaging import Consumer

from deploy.embedded_redis import embedded_redis, wait_for_redis
from deploy.ports import free_port
from shared.broker import LONGEST_RECONNECT_S, make_celery
from tests.support.processes import running


def test_a_worker_never_waits_for_long_before_it_tries_to_reach_redis_again() -> None:
    app = make_celery(f"redis://127.0.0.1:{free_port()}/0", "tests")
    waits: list[float] = []

    with contextlib.suppress(OperationalError), app.connection_for_read() as connection:
        connection.ensure_connection(
            lambda _, wait_s: waits.append(wait_s), max_retries=3, interval_start=LONGEST_RECONNECT_S
        )

    assert waits
    assert max(waits) <= LONGEST_RECONNECT_S


def test_a_bell_that_a_busy_worker_holds_when_redis_ends_does_not_end_the_worker(tmp_path: Path) -> None:
    server = embedded_redis(tmp_path, free_port())
    with running(server.command.words, tmp_path / "redis.log", stdin=server.configuration) as process:
        wait_for_redis(server.url)
        held: list[Any] = []
        connection = make_celery(server.url, "tests").connection_for_read()
        channel = connection.default_channel
        connection.Producer(channel).publish({}, exchange="", routing_key="gpu.default")
        queue = Queue("gpu.default")  # type: ignore[no-untyped-call]
        consumer = Consumer(channel, [queue], callbacks=[lambda _, message: held.append(message)])  # type: ignore[no-untyped-call]
        consumer.consume()  # type: ignore[no-untyped-call]
        connection.drain_events(timeout=5)
        process.kill()
        process.wait()
        connection.transport.client = None  # as Celery's first attempt to clean up leaves it

        connection.release()

    assert held
