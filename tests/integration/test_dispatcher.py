"""The dispatcher: a real process, a real receiver, every kind of answer."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from standardwebhooks.webhooks import Webhook

from deploy.ports import free_port
from shared import ledger
from shared.jobs import JobState, Outcome
from shared.ledger import Ledger
from shared.settings import Settings
from tests.support.jobs import make_key, make_spec
from tests.support.processes import running_dispatcher
from tests.support.receiver import running_drip, running_receiver
from tests.support.waiting import wait_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Retries within moments instead of hours."""
    changes = {"webhook_schedule_s": (0.0, 0.1, 0.2, 0.2), "webhook_timeout_s": 3.0, "sweep_s": 0.1}
    return Settings(**(settings.model_dump() | changes | {"webhook_secret": SECRET}))


def finish_job(store: Ledger, settings: Settings, state: JobState = JobState.SUCCEEDED, **spec: Any) -> int:
    """A job that has just ended, its delivery in the outbox."""
    call = ledger.accept(make_spec(**spec), make_key(), settings, idempotency_key=None, digest="")
    job_id = store.run(call).job_id
    claim = store.run(ledger.claim("worker", "token", settings, ()))
    assert claim is not None
    reason = "" if state is JobState.SUCCEEDED else "Why."
    store.run(ledger.finish(job_id, "token", state, Outcome(reason=reason)))
    return job_id


def delivery(settings: Settings, job_id: int) -> dict[str, str]:
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        fields: dict[str, str] = client.hgetall(f"pw:delivery:{job_id}")
        return fields


@contextmanager
def dispatching(settings: Settings, tmp_path: Path) -> Iterator[Callable[[int, str], bool]]:
    """Yields a condition: has this job's delivery come to that state?"""
    with running_dispatcher(settings, tmp_path / "dispatcher.log"):
        yield lambda job_id, state: delivery(settings, job_id).get("state") == state


def test_a_webhook_carries_the_wires_body_signed_with_its_track_id(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    with running_receiver() as receiver, dispatching(quick, tmp_path) as came_to:
        job_id = finish_job(store, quick, webhook=receiver.url + "?secret=1", track_id=77)
        wait_until(lambda: came_to(job_id, "delivered"))

    (request,) = receiver.requests
    body = json.loads(request.body)
    assert request.path == "/hook?secret=1"
    assert (body["status"], body["id"], body["track_id"]) == ("success", job_id, 77)
    assert request.headers["content-type"] == "application/json"
    Webhook(SECRET).verify(request.body, request.headers)


def test_a_failed_job_is_told_too(store: Ledger, quick: Settings, tmp_path: Path) -> None:
    with running_receiver() as receiver, dispatching(quick, tmp_path) as came_to:
        job_id = finish_job(store, quick, JobState.FAILED, webhook=receiver.url, track_id="x")
        wait_until(lambda: came_to(job_id, "delivered"))

    body = json.loads(receiver.requests[0].body)
    assert (body["status"], body["message"], body["track_id"]) == ("failed", "Why.", "x")


def test_a_receiver_that_fails_gets_the_same_delivery_again_until_it_takes_it(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    with running_receiver(statuses=[500, 302]) as receiver, dispatching(quick, tmp_path) as came_to:
        job_id = finish_job(store, quick, webhook=receiver.url)
        wait_until(lambda: came_to(job_id, "delivered"))

    assert len(receiver.requests) == 3
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1


def test_a_receiver_that_is_gone_is_left_alone(store: Ledger, quick: Settings, tmp_path: Path) -> None:
    with running_receiver(statuses=[410]) as receiver, dispatching(quick, tmp_path) as came_to:
        job_id = finish_job(store, quick, webhook=receiver.url)
        wait_until(lambda: came_to(job_id, "dead"))

    assert len(receiver.requests) == 1
    assert store.run(ledger.stats()).deliveries_dead == 1


def test_a_dead_receiver_uses_up_its_attempts_while_others_are_served(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    with running_receiver() as receiver, dispatching(quick, tmp_path) as came_to:
        dead = [finish_job(store, quick, webhook=f"http://127.0.0.1:{free_port()}/") for _ in range(5)]
        alive = finish_job(store, quick, webhook=receiver.url)
        wait_until(lambda: came_to(alive, "delivered"))
        wait_until(lambda: all(came_to(job_id, "dead") for job_id in dead))

    attempts = len(quick.webhook_schedule_s)
    assert {delivery(quick, job_id)["attempts"] for job_id in dead} == {str(attempts)}
    assert delivery(quick, dead[0])["answer"] == "ConnectError"


def test_a_receiver_that_never_ends_its_answer_costs_one_time_out_and_keeps_nobody_else_waiting(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    changes = {"deliveries_at_once": 4, "webhook_schedule_s": (0.0, 60.0), "webhook_timeout_s": 8.0}
    few = quick.model_copy(update=changes)
    with running_drip() as slow_url, running_receiver() as receiver, dispatching(few, tmp_path) as came_to:
        slow = [finish_job(store, few, webhook=slow_url) for _ in range(12)]
        alive = [finish_job(store, few, webhook=receiver.url) for _ in range(3)]

        wait_until(lambda: all(came_to(job_id, "delivered") for job_id in alive), few.webhook_timeout_s)
        wait_until(lambda: delivery(few, slow[0]).get("answer") == "TimeoutError")

    assert {delivery(few, job_id)["attempts"] for job_id in slow} <= {"0", "1"}


def test_a_private_address_is_never_called(store: Ledger, quick: Settings, tmp_path: Path) -> None:
    guarded = quick.model_copy(update={"allow_private_hosts": ()})
    with running_receiver() as receiver, dispatching(guarded, tmp_path) as came_to:
        url = receiver.url.replace("127.0.0.1", "localhost")
        job_id = finish_job(store, guarded, webhook=url)
        wait_until(lambda: came_to(job_id, "dead"))

    assert receiver.requests == []
    assert "private" in delivery(guarded, job_id)["answer"]


def test_a_killed_dispatchers_delivery_is_made_by_the_next(
    store: Ledger, quick: Settings, tmp_path: Path
) -> None:
    """The first one holds the delivery's lease when it dies: it is due again when the lease ends."""
    vanishing = quick.model_copy(update={"webhook_timeout_s": -9.0})
    with running_receiver() as receiver:
        job_id = finish_job(store, quick, webhook=receiver.url)
        assert store.run(ledger.claim_delivery("killed", vanishing)) is not None

        with dispatching(quick, tmp_path) as came_to:
            wait_until(lambda: came_to(job_id, "delivered"))

    assert len(receiver.requests) == 1
