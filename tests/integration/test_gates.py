"""What the ledger refuses to take, and how it guards what it has taken: against a real server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared import ledger
from shared.errors import MakesWay, QueueFull
from shared.jobs import Job, JobState, Outcome
from shared.ledger import Held, Ledger
from shared.settings import Settings
from tests.support.jobs import accept, claim, claim_each, make_key, make_spec
from tests.support.processes import running_gateway, running_redis
from tests.support.waiting import wait_until

COST = make_spec().cost
PACE_S = ledger.calls.UNKNOWN_PACE_MS / 1000
"""Of a server that has measured none yet."""


def lose(store: Ledger, settings: Settings, times: int) -> None:
    """Have every job that waits claimed by workers that vanish, so often."""
    hasty = settings.model_copy(update={"lease_s": 0.0})
    for _ in range(times):
        list(claim_each(store, hasty))
        store.run(ledger.sweep(settings))


def read(store: Ledger, job_id: int) -> Job:
    return store.run(ledger.read(job_id, None))


def room_for(jobs: int, settings: Settings) -> Settings:
    """So long a wait that `jobs` fit, of one tenant."""
    return settings.model_copy(update={"max_wait_s": (jobs - 0.5) * COST * PACE_S})


@pytest.fixture
def raw(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        yield client


def test_a_job_that_would_wait_for_too_long_is_refused_with_when_to_come_back(
    store: Ledger, settings: Settings
) -> None:
    settings = room_for(3, settings)
    for _ in range(3):
        accept(store, settings)

    with pytest.raises(QueueFull, match=r"Rate limit exceeded\. The queue is full: .* Send it again") as full:
        accept(store, settings)

    assert full.value.retry_after_s >= 1
    assert store.run(ledger.stats()).queued == 3


def test_a_job_that_was_held_up_for_long_does_not_make_the_queue_look_long(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    def finish_one(after_ms: int) -> float:
        job_id = accept(store, settings)
        claimed = claim(store, settings)
        raw.hincrby(f"pw:job:{job_id}", "started_ms", -after_ms)
        store.run(ledger.finish(job_id, claimed.token, JobState.SUCCEEDED, Outcome()))
        return float(raw.get("pw:pace") or 0)

    usual = finish_one(after_ms=1000)
    after_an_hour = finish_one(after_ms=3_600_000)

    assert after_an_hour < 1.5 * usual


def test_room_in_the_queue_comes_back_as_jobs_end(store: Ledger, settings: Settings) -> None:
    settings = room_for(1, settings)
    job_id = accept(store, settings)
    with pytest.raises(QueueFull):
        accept(store, settings)

    store.run(ledger.cancel(job_id, "tenant"))

    accept(store, settings)


def test_one_tenants_flood_fills_the_queue_for_itself_alone(store: Ledger, settings: Settings) -> None:
    settings = room_for(50, settings)
    for _ in range(50):
        accept(store, settings, make_key("flood"))
    with pytest.raises(QueueFull):
        accept(store, settings, make_key("flood"))

    quiet = [accept(store, settings, make_key("quiet")) for _ in range(20)]

    assert len(quiet) == 20


def test_tenants_that_come_to_a_full_queue_are_given_their_shares_of_it(
    store: Ledger, settings: Settings
) -> None:
    settings = room_for(60, settings)
    taken = []

    for key in (make_key("first"), make_key("second"), make_key("third", weight=2)):
        taken.append(0)
        with contextlib.suppress(QueueFull):
            while taken[-1] < 100:
                accept(store, settings, key)
                taken[-1] += 1

    assert taken == [60, 30, 30]


def test_a_load_of_a_model_is_taken_however_long_the_queue_is(store: Ledger, settings: Settings) -> None:
    """Its call says so by itself: an operator repairs a full server too."""
    settings = room_for(1, settings)
    accept(store, settings)

    call = ledger.accept(make_spec(), make_key(), settings, idempotency_key="same", digest="")
    with pytest.raises(QueueFull):
        store.run(call)
    arguments = list(call.arguments)
    arguments[12] = "1"

    assert store.run(ledger.calls.Call("accept", arguments, call.parse)).is_new


def test_a_job_that_is_overdue_fails_with_a_reason_whether_it_waits_or_runs(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    running, waiting = accept(store, settings), accept(store, settings, webhook="http://x.test/")
    claimed = claim(store, settings)
    for job_id in (running, waiting):
        raw.zadd("pw:deadlines", {str(job_id): 1})

    swept = store.run(ledger.sweep(settings))

    assert swept.overdue == 2
    for job_id in (running, waiting):
        job = read(store, job_id)
        assert job.state is JobState.FAILED
        assert job.outcome is not None
        assert "its deadline" in job.outcome.reason
    beats = store.run(
        ledger.beat("worker", ledger.WorkerFacts(), settings, [Held(running, claimed.token, 0.5)])
    )
    assert beats.lost == {claimed.token}
    late = store.run(ledger.finish(running, claimed.token, JobState.SUCCEEDED, Outcome()))
    assert not late.is_mine
    assert store.run(ledger.stats()).deliveries_waiting == 1


def test_a_deadline_is_counted_from_when_the_job_was_accepted(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    job_id = accept(store, settings.model_copy(update={"job_deadline_s": 100.0}))

    due_ms = raw.zscore("pw:deadlines", str(job_id))

    assert due_ms == float(raw.hget(f"pw:job:{job_id}", "created_ms") or 0) + 100_000


def test_a_job_that_may_have_ended_its_workers_is_made_alone_the_last_time(
    store: Ledger, settings: Settings
) -> None:
    suspect = accept(store, settings)
    lose(store, settings, times=2)
    harmless = accept(store, settings)

    with pytest.raises(MakesWay):
        claim(store, settings, "busy", is_idle=False)
    idle = claim(store, settings, "idle", "another worker", is_idle=True)

    assert (idle.job_id, idle.attempts, idle.is_alone) == (suspect, 3, True)
    after = claim(store, settings, "busy", is_idle=False)
    assert (after.job_id, after.is_alone) == (harmless, False)


def test_only_one_busy_worker_makes_way_for_a_suspect(store: Ledger, settings: Settings) -> None:
    accept(store, settings)
    lose(store, settings, times=2)
    harmless = accept(store, settings)

    with pytest.raises(MakesWay):
        claim(store, settings, "first", "first", is_idle=False)
    second = claim(store, settings, "second", "second", is_idle=False)

    assert second.job_id == harmless


def test_a_job_lost_once_is_made_in_company(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings)
    lose(store, settings, times=1)

    claimed = claim(store, settings, is_idle=False)

    assert (claimed.job_id, claimed.is_alone) == (job_id, False)


def test_a_suspect_can_be_cancelled_and_given_back(store: Ledger, settings: Settings) -> None:
    first, second = accept(store, settings), accept(store, settings)
    lose(store, settings, times=2)

    store.run(ledger.cancel(first, "tenant"))
    claimed = claim(store, settings)
    store.run(ledger.release(second, claimed.token))

    assert read(store, first).state is JobState.CANCELLED
    again = claim(store, settings)
    assert (again.job_id, again.attempts, again.is_alone) == (second, 3, True)


@pytest.mark.parametrize(
    "by_ms", [-3_600_000, 3_600_000], ids=["its clock went forwards, or it was away", "its clock went back"]
)
def test_when_the_servers_time_jumps_no_worker_loses_its_lease(
    store: Ledger, settings: Settings, raw: redis.Redis, by_ms: int
) -> None:
    """All that the server had written down was written an hour earlier, or later, than it is now."""
    job_id = accept(store, settings)
    claimed = claim(store, settings)
    store.run(ledger.sweep(settings))
    raw.zincrby("pw:leases", by_ms, str(job_id))
    raw.incrby("pw:swept", by_ms)

    swept = store.run(ledger.sweep(settings))

    assert (swept.requeued, swept.failed) == (0, 0)
    server_ms = int(raw.time()[0]) * 1000
    assert abs(float(raw.zscore("pw:leases", str(job_id)) or 0) - server_ms - settings.lease_s * 1000) < 5000
    assert store.run(ledger.finish(job_id, claimed.token, JobState.SUCCEEDED, Outcome())).is_mine


def test_a_worker_that_vanished_while_the_server_was_away_loses_its_jobs_a_lease_later(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    job_id = accept(store, settings)
    claim(store, settings)
    store.run(ledger.sweep(settings))
    for name in ("pw:swept", "pw:leases"):
        raw.incrby(name, -60_000) if name == "pw:swept" else raw.zincrby(name, -60_000, str(job_id))
    store.run(ledger.sweep(settings))
    raw.zincrby("pw:leases", -settings.lease_s * 1000, str(job_id))

    assert store.run(ledger.sweep(settings)).requeued == 1


@pytest.fixture
def small(tmp_path: Path, settings: Settings) -> Iterator[tuple[Ledger, redis.Redis]]:
    """A server of its own whose memory is bounded."""
    with running_redis(tmp_path / "small") as url, redis.Redis.from_url(url, decode_responses=True) as raw:
        store = Ledger(url)
        yield store, raw
        store.close()


def used_bytes(raw: redis.Redis) -> int:
    return int(raw.info("memory")["used_memory"])


def test_a_server_that_runs_out_of_memory_refuses_jobs_and_keeps_room_to_end_those_it_has(
    small: tuple[Ledger, redis.Redis], settings: Settings
) -> None:
    store, raw = small
    first = accept(store, settings)  # the scripts take memory too, once
    store.run(ledger.finish(first, claim(store, settings).token, JobState.SUCCEEDED, Outcome()))
    raw.config_set("maxmemory", used_bytes(raw) + 2_000_000)
    accepted = []

    def fill() -> None:
        while True:
            accepted.append(accept(store, settings, prompt="x" * 5000, webhook="http://x.test/"))

    with pytest.raises(QueueFull, match="remember no more jobs"):
        fill()
    for claimed in claim_each(store, settings):
        assert store.run(ledger.finish(claimed.job_id, claimed.token, JobState.SUCCEEDED, Outcome())).is_mine

    assert len(accepted) > 50
    assert {read(store, job_id).state for job_id in accepted} == {JobState.SUCCEEDED}
    assert used_bytes(raw) < raw.info("memory")["maxmemory"]


def test_jobs_end_even_where_others_have_filled_the_memory_to_the_last_byte(
    small: tuple[Ledger, redis.Redis], settings: Settings
) -> None:
    store, raw = small
    job_id = accept(store, settings)
    raw.config_set("maxmemory", used_bytes(raw) - 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        raw.set("anything", "more")

    claimed = claim(store, settings)
    store.run(ledger.beat("worker", ledger.WorkerFacts(), settings, [Held(job_id, claimed.token, 0.5)]))
    store.run(ledger.sweep(settings))
    store.run(ledger.finish(job_id, claimed.token, JobState.SUCCEEDED, Outcome()))

    assert read(store, job_id).state is JobState.SUCCEEDED


def test_a_gateway_tells_its_operator_of_a_redis_that_may_lose_jobs(
    settings: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "gateway.log"
    with running_redis(tmp_path) as url, redis.Redis.from_url(url) as raw:
        raw.config_set("maxmemory", 1 << 30)
        raw.config_set("maxmemory-policy", "allkeys-lru")
        with running_gateway(settings.model_copy(update={"redis_url": url}), log):
            wait_until(lambda: "redis can't be trusted" in log.read_text())

    assert "maxmemory-policy" in log.read_text()
