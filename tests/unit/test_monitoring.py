"""The endpoint for metrics and probes, in this process, and what processes say of their health."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from deploy.ports import free_port
from shared.errors import Misconfigured
from shared.monitoring import Health, listen, new_registry
from shared.monitoring.endpoint import MOST_AT_ONCE, STALL_S, _Handler
from tests.support.metrics import scraped
from tests.support.waiting import wait_until


@contextmanager
def listening(
    registry: CollectorRegistry, health: Health | None = None, host: str = "127.0.0.1"
) -> Iterator[str]:
    server = listen(host, free_port(), registry, health or Health())
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def status(url: str) -> int:
    return httpx.get(url, timeout=5, trust_env=False).status_code


def connected(stack: ExitStack, url: str) -> socket.socket:
    """To the endpoint, until the stack ends."""
    address = (httpx.URL(url).host, httpx.URL(url).port or 0)
    return stack.enter_context(socket.create_connection(address, 5))


def is_hung_up_on(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


def test_a_process_is_ready_between_its_start_and_its_end() -> None:
    health = Health()
    said = [health.why_not_ready]

    health.begin()
    said.append(health.why_not_ready)
    health.end()
    health.begin()  # Celery may tell of its start after it was told to end
    said.append(health.why_not_ready)

    assert said == ["It is starting.", None, "It is ending: it begins nothing new."]
    assert health.why_dead is None


def test_what_stands_in_the_way_makes_a_process_not_ready_and_does_not_end_it() -> None:
    health = Health()
    health.expect([], lambda: "Nobody hears it.")
    health.begin()

    assert (health.why_not_ready, health.why_dead) == ("Nobody hears it.", None)


def test_a_process_whose_thread_has_ended_is_dead_unless_it_ends_itself() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="the-thread-of-this-test")
    thread.start()
    health = Health()
    health.expect([thread.name])
    health.begin()
    with_it = health.why_dead

    over.set()
    thread.join()
    without_it, ready = health.why_dead, health.why_not_ready
    health.end()

    assert with_it is None
    assert without_it == ready == "These of its threads have ended: the-thread-of-this-test."
    assert health.why_dead is None


def test_probes_are_answered_with_a_sentence() -> None:
    health = Health()
    with listening(CollectorRegistry(), health) as url:
        starting = httpx.get(f"{url}/health/ready")
        health.begin()
        ready = httpx.get(f"{url}/health/ready")

    assert (starting.status_code, starting.json()) == (503, {"status": "error", "message": "It is starting."})
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})


def test_only_three_paths_are_answered_and_metrics_are_only_read() -> None:
    with listening(CollectorRegistry()) as url:
        assert [status(f"{url}{path}") for path in ("/", "/metrics/x", "/health")] == [404] * 3
        assert httpx.post(f"{url}/metrics").status_code == 405


def test_a_metric_that_cannot_be_told_is_logged_and_the_next_scrape_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry, readings = CollectorRegistry(), [5.0, 0.0]

    def tell() -> float:
        return 25 / readings.pop()

    Gauge("moody", "Fails once", registry=registry).set_function(tell)
    with listening(registry) as url:
        assert status(f"{url}/metrics") == 500
        assert scraped(url).value("moody") == 5
    assert [record.message for record in caplog.records if record.exc_info] == ["a monitoring request failed"]


def test_callers_that_stall_are_hung_up_on_and_the_rest_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _Handler.timeout == STALL_S
    monkeypatch.setattr(_Handler, "timeout", 1.0)
    with listening(CollectorRegistry()) as url, ExitStack() as stack:
        stalling = [connected(stack, url) for _ in range(MOST_AT_ONCE - 1)]
        answered = status(f"{url}/health/live")
        beyond = [connected(stack, url) for _ in range(2)]

        assert answered == 200
        assert beyond[-1].recv(1) == b""
        assert not is_hung_up_on(stalling[0])
        assert [each.recv(1) for each in stalling] == [b""] * len(stalling)
        wait_until(lambda: status(f"{url}/health/live") == 200)


def test_it_listens_at_an_address_of_the_newer_kind_too() -> None:
    with listening(CollectorRegistry(), host="::1") as url:
        assert status(f"{url}/health/live") == 200


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with listening(CollectorRegistry()) as url:
        port = httpx.URL(url).port or 0

        with pytest.raises(
            Misconfigured, match=rf"port {port} can't be listened at \(Address already in use\)"
        ):
            listen("127.0.0.1", port, CollectorRegistry(), Health())


def test_two_registries_of_one_process_share_no_counts() -> None:
    first, second = new_registry("gateway"), new_registry("gateway")

    Counter("counted", "Counted", registry=first).inc()
    Counter("counted", "Counted", registry=second)

    assert (first.get_sample_value("counted_total"), second.get_sample_value("counted_total")) == (1, 0)
