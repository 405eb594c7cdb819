"""What an owner sees of its webhooks, and sending them again: a real gateway, dispatcher and receivers."""

import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler

import httpx
import pytest
import redis
from standardwebhooks.webhooks import Webhook

from deploy.ports import free_port
from shared import ledger
from shared.ledger.delivery_calls import MOST_ATTEMPTS, NO_WEBHOOK, NOT_ENDED, PAGE, REPLAY_BATCH
from tests.support.deliveries import ADMIN, KEYS, ROOT, SIGNING_SECRET, Office, Owner, running_office
from tests.support.jobs import accept, make_key
from tests.support.receiver import running_drip, running_receiver
from tests.support.site import Page, answer, raw, redirect, running_site, silence
from tests.support.waiting import wait_until

TEN_MB = b"x" * 10_000_000
TOKEN = "a-token-that-nobody-may-see"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Without a dispatcher: tests that make deliveries begin and end one."""
    with running_office(tmp_path_factory.mktemp("office")) as office:
        yield office


@pytest.fixture(scope="module")
def manned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """With a dispatcher all the time."""
    with running_office(tmp_path_factory.mktemp("manned")) as office, office.dispatching():
        yield office


@pytest.fixture
def ann(manned: Office) -> Owner:
    return manned.owner("ann")


RECEIVERS: dict[str, tuple[Page, str, list[str]]] = {
    "fails": (answer(status=500), "dead", ["HTTP 500"] * 3),
    "redirects": (redirect("http://127.0.0.1/elsewhere"), "dead", ["HTTP 302"] * 3),
    "is gone": (answer(status=410), "dead", ["HTTP 410"]),
    "hangs up": (raw(b""), "dead", ["no HTTP answer"] * 3),
    "speaks something else": (raw(b"220 mail.test ESMTP\r\n"), "dead", ["no HTTP answer"] * 3),
    "says nothing": (silence, "dead", ["no answer in time"] * 3),
    "says much": (answer(TEN_MB), "delivered", ["HTTP 200"]),
    "fails and says much": (answer(TEN_MB, status=503), "dead", ["HTTP 503"] * 3),
    "takes it": (answer(), "delivered", ["HTTP 200"]),
}


@pytest.mark.parametrize(("page", "state", "answers"), RECEIVERS.values(), ids=RECEIVERS)
def test_the_log_has_every_attempt_and_what_the_receiver_said(
    ann: Owner, page: Page, state: str, answers: list[str]
) -> None:
    began = time.time()
    with running_site({"/hook": page}) as site:
        job_id = ann.end_job(f"{site.url}/hook?token={TOKEN}")
        log = ann.came_to(job_id, state)

    assert list(log) == ["status", "id", "delivery", "next_attempt_at", "attempts"]
    assert (log["status"], log["id"], log["next_attempt_at"]) == ("success", job_id, None)
    assert [attempt["answer"] for attempt in log["attempts"]] == answers
    times = [attempt["at"] for attempt in log["attempts"]]
    assert times == sorted(times)
    assert all(began - 1 < at < time.time() + 1 for at in times)
    assert all(0 <= attempt["took_s"] < 3 for attempt in log["attempts"])
    assert TOKEN not in json.dumps(log)
    assert {request.path for request in site.requests} == {f"/hook?token={TOKEN}"}


def test_a_receiver_that_was_down_gets_it_when_it_is_back(office: Office) -> None:
    ann, port = office.owner("ann"), free_port()
    with office.dispatching(webhook_schedule_s=(0.0, 0.2, 0.2, *(0.5,) * 20)):
        job_id = ann.end_job(f"http://127.0.0.1:{port}/hook")
        wait_until(lambda: len(ann.answers(job_id)) >= 2)
        with running_receiver(port=port) as receiver:
            ann.came_to(job_id, "delivered")

    *before, last = ann.answers(job_id)
    assert set(before) == {"no connection"}
    assert last == "HTTP 200"
    assert len(receiver.requests) == 1


def test_retry_after_is_waited_for(ann: Owner) -> None:
    with running_receiver(statuses=[429], headers={"Retry-After": "2"}) as receiver:
        job_id = ann.end_job(receiver.url)
        log = ann.came_to(job_id, "delivered")

    first, second = log["attempts"]
    assert (first["answer"], second["answer"]) == ("HTTP 429", "HTTP 200")
    assert second["at"] - first["at"] >= 2


def test_an_answer_without_end_is_not_read(ann: Owner) -> None:
    sent = 0

    def endless(handler: BaseHTTPRequestHandler, _: threading.Event) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        while sent < 200_000_000:
            sent += handler.wfile.write(TEN_MB[:65_536])

    with running_site({"/hook": endless}) as site:
        job_id = ann.end_job(f"{site.url}/hook")
        log = ann.came_to(job_id, "delivered")

    assert log["attempts"][0]["took_s"] < 1
    assert sent < 32_000_000  # what the system's own buffers hold


def test_what_comes_next_is_told(office: Office) -> None:
    ann = office.owner("ann")
    with running_receiver(statuses=[500]) as receiver, office.dispatching(webhook_schedule_s=(0.0, 300.0)):
        job_id = ann.end_job(receiver.url)
        wait_until(lambda: ann.answers(job_id) == ["HTTP 500"])
        log = ann.log(job_id)

    assert log["delivery"] == "due"
    assert 260 < log["next_attempt_at"] - time.time() < 335


def test_an_attempt_that_a_killed_dispatcher_cut_off_is_in_the_log(office: Office) -> None:
    ann = office.owner("ann")
    with running_drip() as hanging:
        job_id = ann.end_job(hanging)
        with office.dispatching(webhook_timeout_s=0.5):  # its lease is ten seconds longer
            wait_until(lambda: ann.answers(job_id))
            assert ann.answers(job_id) == ["under way"]
    assert ann.log(job_id)["delivery"] == "sending"

    cut_off = "cut off: the dispatcher ended before an answer came"
    wait_until(lambda: ann.answers(job_id) == [cut_off])
    with office.dispatching():
        wait_until(lambda: len(ann.answers(job_id)) > 1)

    assert ann.answers(job_id)[0] == cut_off
    assert ann.log(job_id)["attempts"][0]["took_s"] is None


def test_the_log_is_bounded_and_keeps_the_newest(office: Office) -> None:
    ann = office.owner("ann")
    job_id = ann.end_job("http://127.0.0.1:9/")
    made = 0
    while made < MOST_ATTEMPTS + 5:
        delivery = office.store.run(ledger.claim_delivery("token", office.settings))
        assert delivery is not None
        is_it = delivery.job_id == job_id  # or what another test has left
        office.store.run(
            ledger.finish_delivery(delivery, "retry" if is_it else "dead", answer=f"answer {made}")
        )
        made += is_it

    answers = ann.answers(job_id)

    assert (len(answers), answers[-1]) == (MOST_ATTEMPTS, f"answer {MOST_ATTEMPTS + 4}")


def test_the_dead_are_listed_by_tenant_newest_first_until_their_records_expire(office: Office) -> None:
    bob, cid = office.owner("bob"), office.owner("cid")
    short_lived = office.settings.model_copy(update={"retention_s": 1.5})
    with running_receiver(statuses=[410] * 4) as receiver, office.dispatching():
        jobs = []
        for owner in (bob, cid, bob):
            jobs.append(owner.end_job(receiver.url))
            owner.came_to(jobs[-1], "dead")
        brief = Owner("bob", office.url, short_lived, office.store).end_job(receiver.url)
        bob.came_to(brief, "dead")
        listed = bob.post("deliveries")
        counted = office.store.run(ledger.stats()).deliveries_dead
        wait_until(lambda: bob.post("deliveries")["total"] == 2)

    assert list(listed) == ["status", "total", "page", "deliveries"]
    assert (listed["status"], listed["total"], listed["page"]) == ("success", 3, 1)
    first = listed["deliveries"][0]
    assert list(first) == ["id", "given_up_at", "attempts", "answer"]
    assert (first["attempts"], first["answer"]) == (1, "HTTP 410")
    assert abs(first["given_up_at"] - time.time()) < 60
    left = [each["id"] for each in bob.post("deliveries")["deliveries"]]
    assert left == [jobs[2], jobs[0]]
    assert counted - office.store.run(ledger.stats()).deliveries_dead == 1
    assert bob.log(brief)["message"] == "Request not found"


def test_a_long_list_of_the_dead_comes_by_pages(office: Office) -> None:
    dan = office.owner("dan")
    dead = [dan.end_job("http://127.0.0.1:9/") for _ in range(PAGE + 5)]
    give_up(office, dead)
    query = {"key": KEYS["dan"], "page": "2"}

    pages = [dan.post("deliveries"), httpx.get(f"{office.url}{ROOT}/deliveries", params=query).json()]

    listed = [each for page in pages for each in page["deliveries"]]
    assert sorted(each["id"] for each in listed) == dead
    times = [each["given_up_at"] for each in listed]
    assert times == sorted(times, reverse=True)
    assert [(page["total"], page["page"]) for page in pages] == [(len(dead), i) for i in (1, 2)]
    assert len(pages[0]["deliveries"]) == PAGE
    assert dan.post("deliveries", page=9)["deliveries"] == []
    assert "page must be between 1 and" in dan.post("deliveries", page=0)["message"]


def give_up(office: Office, jobs: list[int]) -> None:
    """By the ledger alone; whatever else is due stays due."""
    left = set(jobs)
    while left:
        delivery = office.store.run(ledger.claim_delivery("token", office.settings))
        assert delivery is not None
        is_meant = delivery.job_id in left
        left.discard(delivery.job_id)
        verdict = ("dead", 0.0) if is_meant else ("retry", 3600.0)
        office.store.run(
            ledger.finish_delivery(delivery, verdict[0], retry_in_s=verdict[1], answer="HTTP 500")  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("statuses", [[410], []], ids=["a dead one", "a delivered one"])
def test_a_replay_is_the_same_delivery_again_with_a_schedule_of_its_own(
    ann: Owner, statuses: list[int]
) -> None:
    with running_receiver(statuses=statuses) as receiver:
        job_id = ann.end_job(receiver.url, track_id="mine")
        ann.came_to(job_id, "dead" if statuses else "delivered")
        receiver.statuses[:] = [500, 500]

        said = ann.post(f"replay/{job_id}")
        wait_until(lambda: len(receiver.requests) == 4)
        log = ann.came_to(job_id, "delivered")

    assert said == {"status": "success", "id": job_id, "message": "The webhook is sent again"}
    assert [attempt["answer"] for attempt in log["attempts"]] == [
        *("HTTP 410" if statuses else "HTTP 200", "HTTP 500", "HTTP 500", "HTTP 200")
    ]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1
    for request in receiver.requests:
        Webhook(SIGNING_SECRET).verify(request.body, request.headers)
    assert job_id not in [each["id"] for each in ann.post("deliveries")["deliveries"]]


def test_a_replay_of_one_that_is_due_makes_it_due_now(office: Office) -> None:
    ann = office.owner("ann")
    with running_receiver(statuses=[500]) as receiver, office.dispatching(webhook_schedule_s=(0.0, 300.0)):
        job_id = ann.end_job(receiver.url)
        wait_until(lambda: ann.answers(job_id) == ["HTTP 500"])

        for _ in range(3):
            ann.post(f"replay/{job_id}")
        ann.came_to(job_id, "delivered")

    assert len(receiver.requests) <= 4  # one for each time that it was asked for, at most
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


@pytest.mark.parametrize(
    ("first", "attempts"), [(200, 1), (410, 2)], ids=["that succeeds", "that would be the last"]
)
def test_a_replay_beside_an_attempt_makes_another_only_after_one(
    ann: Owner, first: int, attempts: int
) -> None:
    go_on, answers = threading.Event(), [first, 200]

    def slow(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        go_on.wait(10)
        answer(status=answers.pop(0))(handler, over)

    with running_site({"/hook": slow}) as site:
        job_id = ann.end_job(f"{site.url}/hook")
        ann.came_to(job_id, "sending")
        ann.post(f"replay/{job_id}")
        assert len(site.requests) <= 1

        go_on.set()
        log = ann.came_to(job_id, "delivered")

    assert len(log["attempts"]) == len(site.requests) == attempts


def test_all_dead_deliveries_of_a_tenant_are_replayed_at_once_and_nobody_elses(office: Office) -> None:
    eve, fay = office.owner("eve"), office.owner("fay")
    with running_receiver() as receiver:
        hers = [eve.end_job(receiver.url) for _ in range(REPLAY_BATCH + 5)]
        other = fay.end_job(receiver.url)
        give_up(office, [*hers, other])

        said = eve.post("replay")
        listed = eve.post("deliveries")
        with office.dispatching():
            wait_until(lambda: len(receiver.requests) >= len(hers), 60)

    assert said == {"status": "success", "message": "The webhooks are sent again", "count": len(hers)}
    assert (listed["total"], listed["deliveries"]) == (0, [])
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == len(hers)
    assert fay.log(other)["delivery"] == "dead"
    assert eve.post("replay")["count"] == 0


def test_what_dies_again_is_not_replayed_again_by_the_same_call(office: Office) -> None:
    bob = office.owner("bob")
    jobs = [bob.end_job("http://127.0.0.1:9/") for _ in range(3)]
    give_up(office, jobs)

    counts = []
    for asking in ("one", "one", "two"):
        counts.append(office.store.run(ledger.replay_dead("bob", asking)).count)
        give_up(office, jobs[: counts[-1]])

    assert counts[0] >= len(jobs)
    assert counts[1:] == [0, len(jobs)]


def test_a_job_lives_until_its_replay_has_ended_and_for_its_whole_time_after_that(office: Office) -> None:
    brief = office.settings.model_copy(update={"retention_s": 2.0})
    ann = Owner("ann", office.url, brief, office.store)
    with (
        running_receiver(statuses=[410, 500]) as receiver,
        office.dispatching(webhook_schedule_s=(0.0, 3.0)),
        redis.Redis.from_url(brief.redis_url) as client,
    ):
        job_id = ann.end_job(receiver.url)
        ann.came_to(job_id, "dead")
        kept = [f"pw:{name}:{job_id}" for name in ("job", "delivery", "attempts")]
        assert all(0 < client.pttl(key) <= 2000 for key in kept)
        ann.post(f"replay/{job_id}")
        wait_until(lambda: len(receiver.requests) == 2)
        assert [client.pttl(key) for key in kept] == [-1] * 3
        ann.came_to(job_id, "delivered")  # three seconds later, when the record would be gone
        assert all(1000 < client.pttl(key) <= 2000 for key in kept)

    wait_until(lambda: ann.log(job_id).get("message") == "Request not found")
    assert ann.post(f"replay/{job_id}")["message"] == "Request not found"


ROUTES = ("deliveries", "replay")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("asking", ["cid", ADMIN], ids=["a user asks", "an admin asks"])
def test_a_job_of_another_tenant_is_as_unknown_as_none(manned: Office, route: str, asking: str) -> None:
    bob, other = manned.owner("bob"), manned.owner(asking)
    with running_receiver() as receiver:
        job_id = bob.end_job(receiver.url)
        bob.came_to(job_id, "delivered")

    answers = [other.post(f"{route}/{each}") for each in (job_id, job_id + 1_000_000, "no-id")]

    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["message"] == "Request not found"
    assert (answers[0]["status"], answers[0]["id"]) == ("failed", "")


@pytest.mark.parametrize("route", ROUTES)
def test_what_cannot_be_delivered_is_told_in_a_sentence(office: Office, route: str) -> None:
    ann = office.owner("ann")
    plain = ann.end_job(None)
    is_open = accept(office.store, office.settings, make_key("ann"), webhook="http://127.0.0.1:9/")

    without, unended = ann.post(f"{route}/{plain}"), ann.post(f"{route}/{is_open}")
    office.store.run(ledger.cancel(is_open, "ann"))

    assert (without["status"], without["message"]) == ("error", NO_WEBHOOK)
    assert (unended["status"], unended["message"]) == ("error", NOT_ENDED)


def test_the_lists_can_be_asked_for_without_a_body(manned: Office, ann: Owner) -> None:
    with running_receiver(statuses=[410]) as receiver:
        job_id = ann.end_job(receiver.url)
        log = ann.came_to(job_id, "dead")

    def got(path: str) -> object:
        headers = {"Authorization": f"Bearer {KEYS['ann']}"}
        return httpx.get(f"{manned.url}{ROOT}/flux/{path}", headers=headers).json()

    assert got(f"deliveries/{job_id}") == log
    assert got("deliveries") == ann.post("deliveries")


def test_all_of_it_needs_a_key(manned: Office) -> None:
    said = [
        partial(httpx.post, json={"key": "nobodys"})(f"{manned.url}{ROOT}/{path}").json()
        for path in ("deliveries", "deliveries/1", "replay", "replay/1")
    ]

    assert {each["code"] for each in said} == {"invalid_api_key"}
