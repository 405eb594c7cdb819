"""Managing the server: over real HTTP and a real Redis, and what a GPU worker makes of the orders."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.ports import free_port
from shared import ledger
from shared.api_keys import ApiKey, Role, digest
from shared.jobs import JobState
from shared.ledger import Ledger, Order
from shared.settings import Settings
from tests.support.jobs import accept, claim, make_key
from tests.support.processes import running_gateway
from worker.gpu.orders import Orders

ADMIN, USER = "an-admins-key", "a-users-key"
FAMILIES = ("/api/v1/enterprise", "/api/v1/enterprise/images", "/api/v1/enterprise/flux")
SAID = {
    "restart_server": "server restarting",
    "update_server": "server updating",
    "update": "server updating",
    "clear_cache": "Cache cleared successfully",
    "clear_queue": "Queue cleared, server is restarting",
}


@contextlib.contextmanager
def managed(settings: Settings, folder: Path) -> Iterator[httpx.Client]:
    """A client of a gateway that knows an admin and a user."""
    keys = [
        ApiKey(tenant="boss", sha256=digest(ADMIN), role=Role.ADMIN),
        ApiKey(tenant="user", sha256=digest(USER)),
    ]
    file = folder / "keys.json"
    file.write_text(json.dumps([key.model_dump(mode="json") for key in keys]))
    chosen = settings.model_copy(update={"api_keys_file": file, "api_key": None, "sync_wait_s": 0.0})
    with running_gateway(chosen, folder / "gateway.log") as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[httpx.Client]:
    with managed(settings, tmp_path) as client:
        yield client


@pytest.fixture(scope="module")
def any_client(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """For tests that don't mind each other."""
    folder = tmp_path_factory.mktemp("management")
    settings = Settings(redis_url=module_redis_url, data_dir=folder / "data", port=free_port())
    with managed(settings, folder) as client:
        yield client


def orders_given(store: Ledger, settings: Settings) -> dict[str, int]:
    return store.run(ledger.beat("worker", ledger.WorkerFacts(), settings, [])).orders


def test_system_details_tell_of_models_and_of_the_wait(any_client: httpx.Client) -> None:
    for family in FAMILIES:
        answer = any_client.post(f"{family}/system_details", json={"key": USER}).json()

        assert answer == {"model_count": 7, "queue_time": 0, "status": "ok"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("action", SAID)
def test_an_admin_manages_and_a_user_does_not(any_client: httpx.Client, family: str, action: str) -> None:
    done = any_client.post(f"{family}/{action}", json={"key": ADMIN}).json()
    refused = any_client.post(f"{family}/{action}", json={"key": USER}).json()

    assert done == {"status": "success", "message": SAID[action]}
    assert (refused["status"], refused["code"]) == ("error", "forbidden")
    assert "admin's key" in refused["message"]


def test_the_actions_reach_the_workers_as_orders(
    client: httpx.Client, store: Ledger, settings: Settings
) -> None:
    for action in SAID:
        client.post(f"{FAMILIES[0]}/{action}", json={"key": ADMIN})

    assert orders_given(store, settings) == {Order.RESTART: 2, Order.UPDATE: 2, Order.CLEAR_CACHE: 1}


def test_clear_queue_cancels_what_waits_and_leaves_what_runs(
    client: httpx.Client, store: Ledger, settings: Settings
) -> None:
    running = accept(store, settings, make_key("user"))
    claim(store, settings)
    waiting = [
        accept(store, settings, make_key(f"tenant-{i % 3}"), model_id=f"model-{i % 5}") for i in range(450)
    ]
    with_webhook = accept(store, settings, make_key("user"), webhook="http://127.0.0.1:9/")

    client.post(f"{FAMILIES[0]}/clear_queue", json={"key": ADMIN})

    states = {job_id: store.run(ledger.read(job_id, None)).state for job_id in (*waiting, with_webhook)}
    assert set(states.values()) == {JobState.CANCELLED}
    assert store.run(ledger.read(running, None)).state is JobState.RUNNING
    stats = store.run(ledger.stats())
    assert (stats.queued, stats.deliveries_waiting) == (0, 1)


def test_model_reload_answers_for_known_models_only(any_client: httpx.Client) -> None:
    known = any_client.post("/api/v6/images/model_reload", json={"key": ADMIN, "model_id": "demo"}).json()
    unknown = any_client.post("/api/v6/images/model_reload", json={"key": ADMIN, "model_id": "other"}).json()

    assert known["status"] == "success"
    assert (unknown["status"], unknown["message"]) == ("error", "Model not found: other")


def orders_into(followed: list[str], updates: int = 0) -> Orders:
    return Orders(
        updates,
        clear_cache=lambda: followed.append("clear"),
        restart=lambda: followed.append("restart"),
    )


def test_a_worker_follows_an_order_once_and_none_that_is_older_than_it() -> None:
    followed: list[str] = []
    orders = orders_into(followed)

    for count in (3, 3, 4, 4):
        orders.hear({Order.CLEAR_CACHE: count})

    assert followed == ["clear"]


def test_an_update_that_was_ordered_while_a_worker_started_is_followed() -> None:
    late, early = orders_into([], updates=3), orders_into([], updates=4)

    for orders in (late, early):
        orders.hear({Order.UPDATE: 4, Order.RESTART: 9})

    assert (late.restart_wanted, early.restart_wanted) == (True, False)


@pytest.mark.parametrize("order", [Order.RESTART, Order.UPDATE])
def test_a_worker_restarts_once_for_each_order_when_it_is_its_turn(order: Order) -> None:
    followed: list[str] = []
    orders = orders_into(followed, updates=1)

    orders.hear({order: 1})
    assert not orders.restart_wanted
    orders.hear({order: 2})
    assert orders.restart_wanted
    assert followed == []
    orders.restart()

    assert followed == ["restart"]
    orders.hear({order: 2})
    assert not orders.restart_wanted


def test_workers_restart_a_quarter_at_a_time(store: Ledger, settings: Settings) -> None:
    names = [f"worker-{i}" for i in range(8)]
    for name in names:
        store.run(ledger.beat(name, ledger.WorkerFacts(), settings, []))

    first = [name for name in names if store.run(ledger.take_turn(name, settings))]
    store.run(ledger.beat("worker-0-again", ledger.WorkerFacts(), settings, []))  # the first one is back
    second = [name for name in names[2:] if store.run(ledger.take_turn(name, settings))]

    assert (first, second) == (["worker-0", "worker-1"], ["worker-2"])


def test_a_lone_worker_may_restart(store: Ledger, settings: Settings) -> None:
    store.run(ledger.beat("worker", ledger.WorkerFacts(), settings, []))

    assert store.run(ledger.take_turn("worker", settings))
