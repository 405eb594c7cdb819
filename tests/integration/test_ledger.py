"""The ledger's scripts one by one: what each promises, against a real server."""

import asyncio
import json
from pathlib import Path

import pytest
import redis

from deploy.ports import free_port
from shared import ledger
from shared.broker import WEBHOOK_QUEUE, gpu_queue
from shared.errors import IdempotencyConflict, JobNotFound, LedgerUnavailable
from shared.jobs import Job, JobState, Outcome
from shared.ledger import AsyncLedger, Held, Ledger
from shared.settings import Settings
from tests.support.jobs import accept, accepting, claim, make_key, make_spec, make_unreadable


@pytest.fixture
def raw(settings: Settings) -> redis.Redis:
    return redis.Redis.from_url(settings.redis_url, decode_responses=True)


def test_a_job_goes_from_accepted_to_succeeded(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings)
    assert store.run(ledger.read(job_id, "tenant")).state is JobState.QUEUED

    claimed = claim(store, settings)
    assert store.run(ledger.read(job_id, "tenant")).state is JobState.RUNNING

    outcome = Outcome(generation_time_s=1.5, revision="fp32")
    assert store.run(ledger.finish(job_id, claimed.token, JobState.SUCCEEDED, outcome)).is_mine
    job = store.run(ledger.read(job_id, "tenant"))
    assert (job.state, job.outcome, job.spec) == (JobState.SUCCEEDED, outcome, claimed.spec)


def test_a_claim_tells_how_long_the_job_has_waited_by_redis_clock(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    job_id = accept(store, settings)
    raw.hincrby(f"pw:job:{job_id}", "created_ms", -90_000)

    assert 90 <= claim(store, settings).waited_s < 100


def test_a_delivery_tells_how_long_it_is_owed_by_redis_clock(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    job_id = accept(store, settings, webhook="http://receiver.test/")
    store.run(ledger.finish(job_id, claim(store, settings).token, JobState.SUCCEEDED, Outcome()))
    raw.hincrby(f"pw:job:{job_id}", "finished_ms", -90_000)

    delivery = store.run(ledger.claim_delivery("token", settings))

    assert delivery is not None
    assert delivery.owed_s is not None
    assert 90 <= delivery.owed_s < 100


def test_the_same_idempotency_key_makes_one_job_and_another_body_is_refused(
    store: Ledger, settings: Settings
) -> None:
    def submit(digest: str) -> ledger.Accepted:
        call = ledger.accept(make_spec(), make_key(), settings, idempotency_key="k", digest=digest)
        return store.run(call)

    first, second = submit("body"), submit("body")

    assert (first.is_new, second.is_new) == (True, False)
    assert first.job_id == second.job_id
    with pytest.raises(IdempotencyConflict):
        submit("another body")


def test_a_worker_that_lost_its_lease_cannot_write(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings)
    claim(store, settings.model_copy(update={"lease_s": 0.0}), token="slow")
    swept = store.run(ledger.sweep(settings))
    assert swept.requeued == 1
    claim(store, settings, token="fast")

    late = store.run(ledger.finish(job_id, "slow", JobState.FAILED, Outcome(reason="late")))
    won = store.run(ledger.finish(job_id, "fast", JobState.SUCCEEDED, Outcome()))

    assert (late.is_mine, won.is_mine) == (False, True)
    assert store.run(ledger.read(job_id, None)).state is JobState.SUCCEEDED


def test_a_beat_keeps_a_lease_that_would_have_expired(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings)
    claimed = claim(store, settings.model_copy(update={"lease_s": 0.0}))

    beats = store.run(
        ledger.beat("worker", ledger.WorkerFacts(), settings, [Held(job_id, claimed.token, 0.25)])
    )

    assert beats.lost == frozenset()
    assert store.run(ledger.sweep(settings)).requeued == 0
    assert store.run(ledger.read(job_id, None)).progress == 0.25


def test_a_job_whose_workers_keep_vanishing_fails_with_a_reason(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings)
    for _ in range(settings.max_attempts):
        claim(store, settings.model_copy(update={"lease_s": 0.0}))
        store.run(ledger.sweep(settings))

    job = store.run(ledger.read(job_id, None))

    assert job.state is JobState.FAILED
    assert job.outcome is not None
    assert "3 attempts" in job.outcome.reason


def test_a_released_job_keeps_its_place_and_its_attempts(store: Ledger, settings: Settings) -> None:
    first, second = accept(store, settings), accept(store, settings)
    claimed = claim(store, settings)

    assert store.run(ledger.release(claimed.job_id, claimed.token)).is_mine

    again, then = claim(store, settings), claim(store, settings)
    assert (again.job_id, again.attempts) == (first, 1)
    assert then.job_id == second


def test_cancelling_a_queued_job_ends_it_and_a_running_one_hears_of_it_at_its_beat(
    store: Ledger, settings: Settings
) -> None:
    running = accept(store, settings)
    claimed = claim(store, settings)
    queued = accept(store, settings)

    for job_id in (queued, running):
        assert store.run(ledger.cancel(job_id, "tenant")).is_mine

    assert store.run(ledger.read(queued, None)).state is JobState.CANCELLED
    beats = store.run(
        ledger.beat("worker", ledger.WorkerFacts(), settings, [Held(running, claimed.token, 0.0)])
    )
    assert beats.cancelled == {claimed.token}
    assert not store.run(ledger.cancel(queued, "tenant")).is_mine


def test_a_cancel_is_not_forgotten_when_the_job_is_given_back(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings)
    claimed = claim(store, settings)
    store.run(ledger.cancel(job_id, "tenant"))

    store.run(ledger.release(job_id, claimed.token))

    assert store.run(ledger.read(job_id, None)).state is JobState.CANCELLED


def test_a_worker_that_holds_a_job_twice_hears_which_lease_is_lost(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings)
    claim(store, settings.model_copy(update={"lease_s": 0.0}), token="old")
    store.run(ledger.sweep(settings))
    claim(store, settings, token="new")

    held = [Held(job_id, token, 0.0) for token in ("old", "new")]

    assert store.run(ledger.beat("worker", ledger.WorkerFacts(), settings, held)).lost == {"old"}


def test_a_delivery_whose_record_is_gone_ends_without_an_error(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    job_id = accept(store, settings, webhook="http://receiver.test/")
    store.run(ledger.finish(job_id, claim(store, settings).token, JobState.SUCCEEDED, Outcome()))
    raw.delete(f"pw:job:{job_id}")

    delivery = store.run(ledger.claim_delivery("token", settings))

    assert delivery is not None
    assert store.run(ledger.finish_delivery(delivery, "dead", answer="gone"))
    assert store.run(ledger.stats()).deliveries_waiting == 0


def test_a_replay_whose_reply_was_lost_is_not_a_second_one(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings, webhook="http://receiver.test/")
    store.run(ledger.finish(job_id, claim(store, settings).token, JobState.SUCCEEDED, Outcome()))

    def deliver() -> bool:
        delivery = store.run(ledger.claim_delivery("token", settings))
        return delivery is not None and store.run(
            ledger.finish_delivery(delivery, "delivered", answer="HTTP 200")
        )

    assert deliver()
    asked = ledger.replay(job_id, "tenant")
    store.run(asked)
    assert deliver()
    store.run(asked)

    assert not deliver()
    assert store.run(ledger.delivery_log(job_id, "tenant")).state == "delivered"


def test_many_calls_at_once_wait_for_a_connection_and_all_succeed(settings: Settings) -> None:
    async def many() -> int:
        client = AsyncLedger(settings.redis_url)
        answers = await asyncio.gather(*(client.run(ledger.stats()) for _ in range(400)))
        await client.close()
        return len(answers)

    assert asyncio.run(many()) == 400


def test_a_job_of_another_tenant_is_as_unknown_as_none(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings, make_key("ann"))

    for call in (ledger.read(job_id, "bob"), ledger.read(job_id + 1, "bob")):
        with pytest.raises(JobNotFound):
            store.run(call)
    with pytest.raises(JobNotFound):
        store.run(ledger.cancel(job_id, "bob"))


def test_one_job_of_a_tenant_starts_at_once_behind_a_flood_of_another(
    store: Ledger, settings: Settings
) -> None:
    for _ in range(500):
        accept(store, settings, make_key("flood"))
    claim(store, settings)

    accept(store, settings, make_key("single"))

    assert "single" in [claim(store, settings).tenant for _ in range(2)]


def test_a_tenant_that_was_away_gains_no_credit(store: Ledger, settings: Settings) -> None:
    for _ in range(20):
        accept(store, settings, make_key("busy"))
        claim(store, settings)
    for tenant in ("busy", "new"):
        for _ in range(20):
            accept(store, settings, make_key(tenant))

    served = [claim(store, settings).tenant for _ in range(10)]

    assert 4 <= served.count("busy") <= 6


def test_priority_moves_ahead_but_starves_nobody(store: Ledger, settings: Settings) -> None:
    steps, side = 50, 512
    accept(store, settings, make_key("plain"), steps=steps, width=side, height=side)
    for _ in range(100):
        accept(store, settings, make_key("urgent", priority=10), steps=steps, width=side, height=side)

    order = [claim(store, settings).tenant for _ in range(101)]

    assert order[0] == "urgent"
    assert order.index("plain") <= 30


def test_a_loaded_model_goes_first_only_within_the_slack(store: Ledger, settings: Settings) -> None:
    cost = make_spec().cost
    settings = settings.model_copy(update={"affinity_slack": 3 * cost})
    accept(store, settings, model_id="cold")
    for _ in range(10):
        accept(store, settings, model_id="warm")

    order = [claim(store, settings, loaded=("warm",)).spec.model_id for _ in range(6)]

    assert order == ["warm", "warm", "warm", "cold", "warm", "warm"]


def test_bells_are_wanted_only_while_work_waits_unheard(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    def bells() -> tuple[str, ...]:
        return store.run(accepting(settings)).bells

    queue = gpu_queue(settings.pool)
    assert bells() == (), "nobody would hear it"
    store.run(ledger.beat("a worker", ledger.WorkerFacts(), settings, []))
    assert bells() == (queue,)
    raw.lpush(queue, "a bell")
    assert bells() == ()
    raw.delete(queue)
    assert store.run(ledger.sweep(settings)).bells == (queue,)
    assert claim(store, settings).bells == (queue,)
    assert claim(store, settings).bells == (queue,)
    assert claim(store, settings).bells == ()
    assert store.run(ledger.sweep(settings)).bells == ()


def test_a_delivery_is_due_again_when_its_dispatcher_vanishes(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings, webhook="http://receiver.test/")
    finished = store.run(ledger.finish(job_id, claim(store, settings).token, JobState.SUCCEEDED, Outcome()))
    assert finished.bells == (WEBHOOK_QUEUE,)

    vanishing = settings.model_copy(update={"webhook_timeout_s": -10.0})
    first = store.run(ledger.claim_delivery("first", vanishing))
    second = store.run(ledger.claim_delivery("second", settings))

    assert first is not None
    assert second is not None
    assert (first.job_id, first.attempts, second.attempts) == (job_id, 0, 1)
    assert not store.run(ledger.finish_delivery(first, "delivered", answer="HTTP 200"))
    assert store.run(ledger.finish_delivery(second, "dead", answer="HTTP 410"))
    assert store.run(ledger.stats()).deliveries_dead == 1


def test_a_record_expires_only_when_nothing_is_owed_any_more(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    plain, hooked = accept(store, settings), accept(store, settings, webhook="http://receiver.test/")
    for job_id in (plain, hooked):
        token = claim(store, settings).token
        store.run(ledger.finish(job_id, token, JobState.SUCCEEDED, Outcome()))
    assert raw.pttl(f"pw:job:{plain}") > 0
    assert raw.pttl(f"pw:job:{hooked}") == -1

    delivery = store.run(ledger.claim_delivery("token", settings))
    assert delivery is not None
    store.run(ledger.finish_delivery(delivery, "delivered", answer="HTTP 200"))

    assert raw.pttl(f"pw:job:{hooked}") > 0


def test_the_eta_is_that_of_the_backlog_and_then_of_the_jobs_own_speed(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    job_id = accept(store, settings)
    raw.set("pw:pace", 1000)
    assert store.run(ledger.read(job_id, None)).eta_s == make_spec().cost

    token = claim(store, settings).token
    raw.hincrby(f"pw:job:{job_id}", "started_ms", -3000)
    store.run(ledger.beat("worker", ledger.WorkerFacts(), settings, [Held(job_id, token, 0.75)]))

    assert store.run(ledger.read(job_id, None)).eta_s == pytest.approx(1.0, abs=0.2)


def test_both_clients_run_the_same_calls(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings)

    async def read() -> Job:
        client = AsyncLedger(settings.redis_url)
        try:
            return await client.run(ledger.read(job_id, "tenant"))
        finally:
            await client.close()

    assert asyncio.run(read()) == store.run(ledger.read(job_id, "tenant"))


def test_an_unreachable_server_is_one_clear_error() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"

    async def read() -> None:
        await AsyncLedger(url).run(ledger.stats())

    with pytest.raises(LedgerUnavailable):
        Ledger(url).run(ledger.stats())
    with pytest.raises(LedgerUnavailable):
        asyncio.run(read())


def test_the_schema_names_every_key_that_the_scripts_use() -> None:
    folder = Path(ledger.__file__).parent
    schema = (folder / "schema.md").read_text()
    scripts = "".join(path.read_text() for path in (folder / "scripts").glob("*.lua"))

    used = {part.split("'")[0] for part in scripts.split("key('")[1:]}

    assert used
    assert not [name for name in used if f"`{name}" not in schema]


def test_a_delivery_that_was_not_tried_counts_no_attempt(store: Ledger, settings: Settings) -> None:
    job_id = accept(store, settings, webhook="http://receiver.test/")
    store.run(ledger.finish(job_id, claim(store, settings).token, JobState.SUCCEEDED, Outcome()))
    leased = store.run(ledger.claim_delivery("first", settings))
    assert leased is not None

    assert store.run(ledger.finish_delivery(leased, "later", retry_in_s=0.0, answer=""))

    assert store.run(ledger.delivery_log(job_id, "tenant")).attempts == ()
    again = store.run(ledger.claim_delivery("second", settings))
    assert again is not None
    assert (again.job_id, again.attempts) == (job_id, 0)


def test_what_another_version_has_registered_or_told_besides_is_passed_over(
    store: Ledger, settings: Settings, raw: redis.Redis
) -> None:
    job_id = accept(store, settings, home="here")
    told = Outcome(reason="why").model_dump() | {"not_known_yet": 1}
    store.run(ledger.finish(job_id, claim(store, settings).token, JobState.FAILED, Outcome()))
    raw.hset(f"pw:job:{job_id}", "outcome", json.dumps(told))
    leaving, unreadable = (accept(store, settings, home="here") for _ in range(2))
    make_unreadable(raw, unreadable)
    known = {"entry_id": "entry-of-m", "model_id": "m", "kind": "lora", "source": "s", "not_known_yet": "1"}
    strange = known | {"entry_id": "entry-of-n", "kind": "not known yet"}
    for name, entry in (("lora:m", known), ("new:n", strange)):
        raw.hset("pw:names", name, entry["entry_id"])
        raw.hset("pw:entries", entry["entry_id"], json.dumps(entry))
    raw.set("pw:registry_version", "1.1-1")

    job = store.run(ledger.read(job_id, None))
    assert job.outcome == Outcome(reason="why")
    assert [each.job_id for each in store.run(ledger.load()).leavers] == [leaving]
    assert [each.model_id for each in store.run(ledger.registry(None)).all()] == ["m"]
