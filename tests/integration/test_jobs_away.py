"""What the ledger does with a job that another server makes: it is leased to a gateway of this one."""

import pytest
import redis

from shared import ledger
from shared.jobs import JobState, Outcome
from shared.ledger import Claim, Held, Ledger
from shared.settings import Settings
from tests.support.jobs import accept, claim

DONE = Outcome(generation_time_s=1)


def give(store: Ledger, settings: Settings, job_id: int, token: str = "away") -> Claim:
    given = store.run(ledger.give(job_id, "gateway", token, "second", settings))
    assert given is not None
    return given


def leavers(store: Ledger) -> list[int]:
    return [each.job_id for each in store.run(ledger.load()).leavers]


def test_only_jobs_that_may_leave_and_wait_can_be_given(store: Ledger, settings: Settings) -> None:
    stays = accept(store, settings)
    goes = accept(store, settings, home="first")
    accept(store, settings, home="first", model_id="loaded")
    claim(store, settings, loaded=["loaded"])

    assert leavers(store) == [goes]
    assert store.run(ledger.give(stays, "gateway", "t", "second", settings)) is None
    give(store, settings, goes)
    assert store.run(ledger.give(goes, "gateway", "t", "second", settings)) is None


def test_no_worker_gets_a_job_that_is_away(store: Ledger, settings: Settings) -> None:
    give(store, settings, accept(store, settings, home="first"))

    assert store.run(ledger.claim("worker", "t", settings, ())) is None


def test_the_work_of_jobs_that_are_away_is_not_this_servers(store: Ledger, settings: Settings) -> None:
    here, away = accept(store, settings), accept(store, settings, home="first")
    both = store.run(ledger.load())
    given = give(store, settings, away)

    left = store.run(ledger.load())
    assert (both.open_jobs, left.open_jobs) == (2, 1)
    assert left.work_left == both.work_left / 2
    store.run(ledger.renew(settings, [Held(away, given.token, 0.5)]))
    assert store.run(ledger.load()).work_left == left.work_left
    assert (store.run(ledger.stats()).away, store.run(ledger.stats()).running) == (1, 0)

    store.run(ledger.release(away, given.token))
    assert store.run(ledger.load()).work_left == both.work_left
    store.run(ledger.finish(here, claim(store, settings).token, JobState.SUCCEEDED, DONE))
    given = give(store, settings, away)
    store.run(ledger.finish(away, given.token, JobState.SUCCEEDED, DONE))
    assert store.run(ledger.load()).work_left == 0


def test_what_is_made_elsewhere_says_nothing_of_this_servers_pace(store: Ledger, settings: Settings) -> None:
    away = accept(store, settings, home="first")
    given = give(store, settings, away)
    store.run(ledger.renew(settings, [Held(away, given.token, 0.5)]))
    store.run(ledger.finish(away, given.token, JobState.SUCCEEDED, DONE))

    load = store.run(ledger.load())
    assert (load.pace_ms, load.job_pace_ms) == (None, None)


def test_a_job_whose_gateway_vanished_is_not_counted_as_tried(store: Ledger, settings: Settings) -> None:
    once = settings.model_copy(update={"max_attempts": 1})
    away = accept(store, settings, home="first")
    give(store, settings.model_copy(update={"lease_s": 0.0}), away)

    swept = store.run(ledger.sweep(once))

    assert (swept.requeued, swept.failed) == (1, 0)
    (leaver,) = store.run(ledger.load()).leavers
    assert (leaver.job_id, leaver.peer) == (away, "second")
    assert store.run(ledger.read(away, None)).attempts == 0
    assert claim(store, settings).job_id == away


def test_the_outcome_of_a_lease_that_was_lost_is_refused(store: Ledger, settings: Settings) -> None:
    away = accept(store, settings, home="first")
    give(store, settings.model_copy(update={"lease_s": 0.0}), away, token="old")
    store.run(ledger.sweep(settings))
    given = give(store, settings, away, token="new")

    assert store.run(ledger.renew(settings, [Held(away, "old", 0.9)]))[0] == {"old"}
    assert not store.run(ledger.finish(away, "old", JobState.SUCCEEDED, DONE)).is_mine
    assert store.run(ledger.finish(away, given.token, JobState.SUCCEEDED, DONE)).is_mine


def test_a_lease_that_is_renewed_is_kept_and_its_progress_is_told(store: Ledger, settings: Settings) -> None:
    away = accept(store, settings, home="first")
    given = give(store, settings.model_copy(update={"lease_s": 0.0}), away)
    assert store.run(ledger.renew(settings, [Held(away, given.token, 0.25)])) == (frozenset(), frozenset())

    store.run(ledger.sweep(settings))

    job = store.run(ledger.read(away, None))
    assert (job.state, job.progress) == (JobState.RUNNING, 0.25)


def test_its_gateway_hears_that_it_is_to_be_cancelled(store: Ledger, settings: Settings) -> None:
    away = accept(store, settings, home="first")
    given = give(store, settings, away)
    store.run(ledger.cancel(away, "tenant"))

    lost, cancelled = store.run(ledger.renew(settings, [Held(away, given.token, 0.0)]))
    assert (lost, cancelled) == (frozenset(), frozenset({given.token}))


def test_what_came_back_to_stay_goes_to_no_peer_again(store: Ledger, settings: Settings) -> None:
    away = accept(store, settings, home="first")
    given = give(store, settings, away)
    store.run(ledger.release(away, given.token))
    assert leavers(store) == [away]
    given = give(store, settings, away)
    store.run(ledger.release(away, given.token, stays=True))

    assert leavers(store) == []
    assert claim(store, settings).job_id == away


def test_a_suspect_is_made_alone_at_home(store: Ledger, settings: Settings) -> None:
    away = accept(store, settings, home="first")
    hasty = settings.model_copy(update={"lease_s": 0.0})
    for _ in range(settings.max_attempts - 1):
        claim(store, hasty)
        store.run(ledger.sweep(settings))

    assert leavers(store) == []
    assert claim(store, settings).job_id == away


def test_how_far_jobs_are_is_told_to_their_tenant_only(store: Ledger, settings: Settings) -> None:
    queued, running = accept(store, settings), accept(store, settings)
    claimed = claim(store, settings)
    store.run(
        ledger.beat("worker", ledger.WorkerFacts(), settings, [Held(claimed.job_id, claimed.token, 0.5)])
    )

    assert store.run(ledger.states([queued, running, 999], "tenant")) == {
        claimed.job_id: (JobState.RUNNING, 0.5),
        ({queued, running} - {claimed.job_id}).pop(): (JobState.QUEUED, 0.0),
    }
    assert store.run(ledger.states([queued], "another")) == {}


def test_no_more_jobs_are_told_of_than_were_asked_for(store: Ledger, settings: Settings) -> None:
    for _ in range(3):
        accept(store, settings, home="first")

    assert [len(store.run(ledger.load(most)).leavers) for most in (0, 2, 5)] == [0, 2, 3]


def test_the_token_of_a_job_is_known_only_while_it_is_away(store: Ledger, settings: Settings) -> None:
    away = accept(store, settings, home="first")
    assert store.run(ledger.lease_of(away)) is None
    given = give(store, settings, away)
    assert store.run(ledger.lease_of(away)) == given.token
    store.run(ledger.finish(away, given.token, JobState.SUCCEEDED, DONE))

    assert store.run(ledger.lease_of(away)) is None


@pytest.mark.parametrize("end", ["finish", "release", "expire", "cancel", "overdue"])
def test_nothing_is_left_of_a_job_that_was_away(
    end: str, store: Ledger, settings: Settings, redis_url: str
) -> None:
    deadline = 0.0 if end == "overdue" else settings.job_deadline_s
    away = accept(store, settings.model_copy(update={"job_deadline_s": deadline}), home="first")
    given = give(store, settings.model_copy(update={"lease_s": 0.0}) if end == "expire" else settings, away)
    if end == "finish":
        store.run(ledger.finish(away, given.token, JobState.SUCCEEDED, DONE))
    if end == "cancel":
        store.run(ledger.finish(away, given.token, JobState.CANCELLED, ledger.CANCELLED))
    if end == "release":
        store.run(ledger.release(away, given.token))
    store.run(ledger.sweep(settings))
    if end in ("release", "expire"):
        store.run(ledger.finish(away, claim(store, settings).token, JobState.SUCCEEDED, DONE))

    with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
        assert raw.get("pw:backlog") == "0"
        left = [
            raw.exists(f"pw:{key}") for key in ("away", "leavers", "leases", "open", "heads", "deadlines")
        ]
    assert not any(left)
