"""How late webhooks leave, as a dispatcher tells it: what receivers and owners delay does not count."""

from collections.abc import Iterator, Sequence

import pytest
import redis
from prometheus_client import CollectorRegistry

from shared import ledger
from shared.broker import DELIVER_TASK, Bell, make_celery
from shared.ledger import Ledger
from shared.settings import Settings
from tests.support.deliveries import end_job
from tests.support.receiver import running_receiver
from tests.support.waiting import wait_until
from worker.dispatcher.metrics import DeliveryMetrics
from worker.dispatcher.sender import Sender
from worker.task_events import TaskEvents

LATE_S = 90
LAG = "printworks_webhook_lag_seconds"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def sender(settings: Settings, store: Ledger, registry: CollectorRegistry) -> Iterator[Sender]:
    app = make_celery(settings.redis_url, "tests")
    bell, events = Bell(app), TaskEvents(app, DELIVER_TASK, "tests")
    changes = {"allow_private_hosts": ("127.0.0.1",), "webhook_schedule_s": (0.0, 0.05)}
    yield Sender(settings.model_copy(update=changes), store, bell, DeliveryMetrics(registry), events)
    bell.close()
    events.close()


@pytest.mark.parametrize(
    ("answers", "is_replayed", "counted"),
    [((200,), False, 1), ((500, 200), False, 0), ((410, 200), True, 0), ((200, 200), True, 1)],
    ids=["first attempt", "retry", "replay of a dead one", "replay of a delivered one"],
)
def test_a_webhook_is_late_by_the_time_until_its_first_attempt_alone(
    sender: Sender,
    store: Ledger,
    settings: Settings,
    registry: CollectorRegistry,
    answers: Sequence[int],
    is_replayed: bool,
    counted: int,
) -> None:
    raw = redis.Redis.from_url(settings.redis_url, decode_responses=True)
    with running_receiver(statuses=answers) as receiver:
        job_id = end_job(store, settings, webhook=receiver.url)
        raw.hincrby(f"pw:job:{job_id}", "finished_ms", -LATE_S * 1000)

        sender.run()
        if is_replayed:
            store.run(ledger.replay(job_id, "tenant"))

        def all_came() -> bool:
            sender.run()
            return len(receiver.requests) == len(answers)

        wait_until(all_came)

    count, total_s = (registry.get_sample_value(f"{LAG}_{each}") for each in ("count", "sum"))
    assert count == counted
    assert total_s is not None
    assert counted * LATE_S <= total_s < counted * (LATE_S + 30) + 1
    attempts = registry.get_sample_value("printworks_delivery_attempts_total", {"outcome": "delivered"})
    assert attempts == answers.count(200)
