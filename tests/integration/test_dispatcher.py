"""The dispatcher: a real process, a real receiver, every kind of answer."""

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import redis
from standardwebhooks.webhooks import Webhook

from deploy.ports import free_port
from shared import ledger
from shared.broker import DELIVER_TASK, WEBHOOK_QUEUE, make_celery
from shared.jobs import JobState
from shared.ledger import Ledger
from shared.settings import Settings
from tests.support.deliveries import SIGNING_SECRET, end_job
from tests.support.processes import running_dispatcher
from tests.support.receiver import running_drip, running_receiver
from tests.support.site import answer, running_site
from tests.support.waiting import wait_until


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Retries within moments instead of hours."""
    changes = {"webhook_schedule_s": (0.0, 0.1, 0.2, 0.2), "webhook_timeout_s": 3.0, "sweep_s": 0.1}
    secrets = {"webhook_secret": SIGNING_SECRET, "secret_key": "a secret of the tests"}
    return Settings(**(settings.model_dump() | changes | secrets))


def delivery(settings: Settings, job_id: int) -> dict[str, str]:
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        fields: dict[str, str] = client.hgetall(f"pw:delivery:{job_id}")
        return fields


def ring(settings: Settings) -> None:
    """The bell that a gateway or a worker rings when a job ends."""
    make_celery(settings.redis_url, "tests").send_task(DELIVER_TASK, queue=WEBHOOK_QUEUE, ignore_result=True)


@contextmanager
def dispatching(settings: Settings, tmp_path: Path) -> Iterator[Callable[[int, str], bool]]:
    """Yields a condition: has this job's delivery come to that state?"""
    with running_dispatcher(settings, tmp_path / "dispatcher.log"):
        yield lambda job_id, state: delivery(settings, job_id).get("state") == state


def test_a_webhook_carries_the_wires_body_signed_with_its_track_id(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    with running_receiver() as receiver, dispatching(quick, tmp_path) as came_to:
        job_id = end_job(store, quick, webhook=receiver.url + "?secret=1", track_id=77)
        wait_until(lambda: came_to(job_id, "delivered"))

    (request,) = receiver.requests
    body = json.loads(request.body)
    assert request.path == "/hook?secret=1"
    assert (body["status"], body["id"], body["track_id"]) == ("success", job_id, 77)
    assert request.headers["content-type"] == "application/json"
    Webhook(SIGNING_SECRET).verify(request.body, request.headers)


def test_a_failed_job_is_told_too(store: Ledger, quick: Settings, tmp_path: Path) -> None:
    with running_receiver() as receiver, dispatching(quick, tmp_path) as came_to:
        job_id = end_job(store, quick, JobState.FAILED, webhook=receiver.url, track_id="x")
        wait_until(lambda: came_to(job_id, "delivered"))

    body = json.loads(receiver.requests[0].body)
    assert (body["status"], body["message"], body["track_id"]) == ("failed", "Why.", "x")


def test_a_receiver_that_fails_gets_the_same_delivery_again_until_it_takes_it(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    with running_receiver(statuses=[500, 302]) as receiver, dispatching(quick, tmp_path) as came_to:
        job_id = end_job(store, quick, webhook=receiver.url)
        wait_until(lambda: came_to(job_id, "delivered"))

    assert len(receiver.requests) == 3
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1


def test_a_receiver_that_is_gone_is_left_alone(store: Ledger, quick: Settings, tmp_path: Path) -> None:
    with running_receiver(statuses=[410]) as receiver, dispatching(quick, tmp_path) as came_to:
        job_id = end_job(store, quick, webhook=receiver.url)
        wait_until(lambda: came_to(job_id, "dead"))

    assert len(receiver.requests) == 1
    assert store.run(ledger.stats()).deliveries_dead == 1


def test_a_dead_receiver_uses_up_its_attempts_while_others_are_served(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    with running_receiver() as receiver, dispatching(quick, tmp_path) as came_to:
        dead = [end_job(store, quick, webhook=f"http://127.0.0.1:{free_port()}/") for _ in range(5)]
        alive = end_job(store, quick, webhook=receiver.url)
        wait_until(lambda: came_to(alive, "delivered"))
        wait_until(lambda: all(came_to(job_id, "dead") for job_id in dead))

    attempts = len(quick.webhook_schedule_s)
    assert {delivery(quick, job_id)["attempts"] for job_id in dead} == {str(attempts)}
    assert delivery(quick, dead[0])["answer"] == "no connection"


def test_a_receiver_that_never_ends_its_answer_costs_one_time_out_and_keeps_nobody_else_waiting(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    changes = {"deliveries_at_once": 4, "webhook_schedule_s": (0.0, 60.0), "webhook_timeout_s": 8.0}
    few = quick.model_copy(update=changes)
    with running_drip() as slow_url, running_receiver() as receiver, dispatching(few, tmp_path) as came_to:
        slow = [end_job(store, few, webhook=slow_url) for _ in range(12)]
        alive = [end_job(store, few, webhook=receiver.url) for _ in range(3)]

        wait_until(lambda: all(came_to(job_id, "delivered") for job_id in alive), few.webhook_timeout_s)
        wait_until(lambda: delivery(few, slow[0]).get("answer") == "no answer in time")

    assert {delivery(few, job_id)["attempts"] for job_id in slow} <= {"0", "1"}


def test_a_backlog_for_a_receiver_that_hangs_holds_up_no_other_and_is_not_gone_through_again_and_again(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    changes = {"webhook_schedule_s": (0.0, 60.0), "webhook_timeout_s": 20.0}
    patient = quick.model_copy(update=changes)
    with running_drip() as hanging, running_receiver() as receiver:
        backlog = [end_job(store, patient, webhook=hanging) for _ in range(600)]
        with dispatching(patient, tmp_path) as came_to:
            wait_until(lambda: came_to(backlog[0], "sending"))
            before, began = script_calls(patient), time.monotonic()
            for _ in range(40):
                job_id = end_job(store, patient, webhook=receiver.url)
                wait_until(partial(came_to, job_id, "delivered"), 5)
            spent, took_s = script_calls(patient) - before, time.monotonic() - began

    assert {delivery(patient, job_id)["attempts"] for job_id in backlog} == {"0", "1"}
    # a job takes three of the test and a few of the dispatcher, and ten sweeps a second find nothing to do
    assert spent < 40 * 9 + 40 * took_s


def script_calls(settings: Settings) -> int:
    with redis.Redis.from_url(settings.redis_url) as client:
        return sum(
            of["calls"] for name, of in client.info("commandstats").items() if name.startswith("cmdstat_eval")
        )


def test_a_batch_for_one_receiver_is_delivered_without_a_pause(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    unhurried = quick.model_copy(update={"sweep_s": 60.0})
    with running_receiver() as receiver:
        batch = [end_job(store, unhurried, webhook=receiver.url) for _ in range(300)]
        with dispatching(unhurried, tmp_path) as came_to:
            ring(unhurried)
            wait_until(lambda: all(came_to(job_id, "delivered") for job_id in batch), 30, every_s=0.5)

    assert len(receiver.requests) == len(batch)


def test_a_dispatcher_that_is_told_to_end_leaves_its_backlog_to_others(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    def slow(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        over.wait(0.4)
        answer()(handler, over)

    with (
        running_site({"/hook": slow}) as site,
        running_dispatcher(quick, tmp_path / "dispatcher.log") as dispatcher,
    ):
        backlog = [end_job(store, quick, webhook=f"{site.url}/hook") for _ in range(200)]
        wait_until(lambda: len(site.requests) >= 8)

        dispatcher.send_signal(signal.SIGTERM)
        dispatcher.wait(8)

    states = Counter(delivery(quick, job_id)["state"] for job_id in backlog)
    assert set(states) == {"delivered", "due"}
    assert states["delivered"] == len(site.requests)


def test_a_private_address_is_never_called(store: Ledger, quick: Settings, tmp_path: Path) -> None:
    guarded = quick.model_copy(update={"allow_private_hosts": ()})
    with running_receiver() as receiver, dispatching(guarded, tmp_path) as came_to:
        url = receiver.url.replace("127.0.0.1", "localhost")
        job_id = end_job(store, guarded, webhook=url)
        wait_until(lambda: came_to(job_id, "dead"))

    assert receiver.requests == []
    assert "private" in delivery(guarded, job_id)["answer"]


def test_a_killed_dispatchers_delivery_is_made_by_the_next(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    """The first one holds the delivery's lease when it dies: it is due again when the lease ends."""
    vanishing = quick.model_copy(update={"webhook_timeout_s": -9.0})
    with running_receiver() as receiver:
        job_id = end_job(store, quick, webhook=receiver.url)
        assert store.run(ledger.claim_delivery("killed", vanishing)) is not None

        with dispatching(quick, tmp_path) as came_to:
            wait_until(lambda: came_to(job_id, "delivered"))

    assert len(receiver.requests) == 1
