"""How processes reach the broker."""

import contextlib

from kombu.exceptions import OperationalError

from deploy.ports import free_port
from shared.broker import LONGEST_RECONNECT_S, make_celery


def test_a_worker_never_waits_for_long_before_it_tries_to_reach_redis_again() -> None:
    app = make_celery(f"redis://127.0.0.1:{free_port()}/0", "tests")
    waits: list[float] = []

    with contextlib.suppress(OperationalError), app.connection_for_read() as connection:
        connection.ensure_connection(
            lambda _, wait_s: waits.append(wait_s), max_retries=3, interval_start=LONGEST_RECONNECT_S
        )

    assert waits
    assert max(waits) <= LONGEST_RECONNECT_S
