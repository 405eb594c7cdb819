"""Random interleavings of every ledger script against a real server: what must hold always, holds."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from shared import ledger
from shared.errors import BadRequest, MakesWay
from shared.jobs import JobState, Outcome
from shared.ledger import Claim, Delivery, Held, Ledger
from shared.settings import Settings
from tests.support.jobs import make_key, make_spec

MODELS = ("demo", "other", "third")
TENANTS = ("ann", "bob", "cid")
RECEIVERS = ("http://x.test/", "http://x.test/?other", "http://y.test/")
DIGESTS = {webhook.receiver for webhook in (make_spec(webhook=url).webhook for url in RECEIVERS) if webhook}
LIMIT = 2


@dataclass
class Known:
    """What the test knows about a job that it was promised."""

    tenant: str
    has_webhook: bool
    cost: int
    ended_as: JobState | None = None


class DeliveryMachine(RuleBasedStateMachine):
    """Jobs that have ended, and dispatchers and owners that do anything with their deliveries at any time."""

    jobs = Bundle("jobs")
    deliveries = Bundle("deliveries")
    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.redis: Any = redis.Redis.from_url(self.redis_url, decode_responses=True)
        self.redis.flushdb()
        self.store = Ledger(self.redis_url)
        self.patient = Settings(max_attempts=LIMIT, lease_s=3600, retention_s=3600)
        self.hasty = self.patient.model_copy(update={"lease_s": 0.0, "webhook_timeout_s": -10.0})
        self.known: dict[int, Known] = {}
        self.by_idempotency_key: dict[tuple[str, str], int] = {}
        self.cancel_asked: set[int] = set()
        self.settled: dict[int, str] = {}
        self.asked_again: set[int] = set()
        self.tokens = (f"token-{i}" for i in itertools.count())

    def teardown(self) -> None:
        self.store.close()
        self.redis.close()

    @initialize(target=jobs)
    def some_have_ended_already(self) -> object:
        for tenant, webhook in zip(TENANTS, RECEIVERS, strict=True):
            spec = make_spec(webhook=webhook)
            call = ledger.accept(spec, make_key(tenant), self.patient, idempotency_key=None, digest="")
            job_id = self.store.run(call).job_id
            assert self.store.run(ledger.claim("worker", "first", self.patient, []))
            self.store.run(ledger.finish(job_id, "first", JobState.SUCCEEDED, Outcome()))
            self.known[job_id] = Known(tenant, True, spec.cost, JobState.SUCCEEDED)
        return multiple(*self.known)

    @rule(target=deliveries, vanishes=st.booleans(), is_occupied=st.booleans())
    def claim_delivery(self, vanishes: bool, is_occupied: bool) -> object:
        settings = self.hasty if vanishes else self.patient
        occupied = self.redis.zrange("pw:receivers", 0, 0) if is_occupied else []
        delivery = self.store.run(ledger.claim_delivery(next(self.tokens), settings, occupied))
        if delivery is None:
            return multiple()
        assert delivery.receiver not in occupied
        assert self.known[delivery.job_id].ended_as is not None
        assert delivery.attempts == 0 or delivery.job_id not in self.asked_again
        self.asked_again.discard(delivery.job_id)
        return delivery

    @rule(delivery=deliveries, verdict=st.sampled_from(["delivered", "retry", "dead"]))
    def finish_delivery(self, delivery: Delivery, verdict: str) -> None:
        call = ledger.finish_delivery(delivery, verdict, retry_in_s=0.0, answer="HTTP 200")  # type: ignore[arg-type]
        if not self.store.run(call):
            return
        is_owed_again = delivery.job_id in self.asked_again
        if verdict == "delivered" or (verdict == "dead" and not is_owed_again):
            self.settled[delivery.job_id] = verdict
        self.asked_again.discard(delivery.job_id)

    @rule(job_id=jobs)
    def replay(self, job_id: int) -> None:
        known, is_sent = self.known[job_id], self._delivery(job_id).get("state") == "sending"
        call = ledger.replay(job_id, known.tenant)
        if known.ended_as is None or not known.has_webhook:
            with pytest.raises(BadRequest):
                self.store.run(call)
            return
        for _ in range(2):  # it is safe to repeat
            self.store.run(call)
        self._was_replayed(job_id, is_sent)

    @rule(tenant=st.sampled_from(TENANTS))
    def replay_dead(self, tenant: str) -> None:
        dead = {each.job_id for each in self.store.run(ledger.dead_letters(tenant, 1)).page}
        assert dead == {
            job_id
            for job_id, verdict in self.settled.items()
            if verdict == "dead" and self.known[job_id].tenant == tenant
        }
        assert self.store.run(ledger.replay_dead(tenant, next(self.tokens))).count == len(dead)
        for job_id in dead:
            self._was_replayed(job_id, is_sent=False)

    def _was_replayed(self, job_id: int, is_sent: bool) -> None:
        self.settled.pop(job_id, None)
        if is_sent:
            self.asked_again.add(job_id)
        else:
            assert self._delivery(job_id)["attempts"] == "0"

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        leases = set(map(int, self.redis.zrange("pw:leases", 0, -1)))
        ready = [int(i) for model in MODELS for i in self.redis.zrange(f"pw:ready:{model}", 0, -1)]
        ready += self._suspects()
        assert len(ready) == len(set(ready))
        for job_id in self.known:
            state = self._state(job_id)
            assert (job_id in ready) == (state is JobState.QUEUED)
            assert (job_id in leases) == (state is JobState.RUNNING)
        assert set(ready) == set(map(int, self.redis.zrange("pw:queued", 0, -1)))
        assert set(ready) | leases == set(map(int, self.redis.zrange("pw:open", 0, -1)))

    @invariant()
    def terminal_states_never_change(self) -> None:
        for job_id, known in self.known.items():
            state = self._state(job_id)
            assert state.is_terminal == (known.ended_as is not None)
            assert known.ended_as in (None, state)

    @invariant()
    def every_ended_job_with_a_webhook_has_one_delivery_and_no_other_job_has(self) -> None:
        waiting = set(map(int, self.redis.zrange("pw:outbox", 0, -1)))
        for job_id, known in self.known.items():
            owed = known.has_webhook and known.ended_as is not None
            assert (job_id in waiting) + (job_id in self.settled) == int(owed)
            if owed:
                assert (self.redis.pttl(f"pw:job:{job_id}") > 0) == (job_id in self.settled)

    @invariant()
    def the_receivers_agree_with_the_outbox(self) -> None:
        owed = self.redis.zrange("pw:outbox", 0, -1, withscores=True)
        queues = {
            receiver: self.redis.zrange(f"pw:outbox:{receiver}", 0, -1, withscores=True)
            for receiver in DIGESTS
        }
        assert sorted(owed) == sorted(each for queue in queues.values() for each in queue)
        firsts = {receiver: queue[0][1] for receiver, queue in queues.items() if queue}
        assert dict(self.redis.zrange("pw:receivers", 0, -1, withscores=True)) == firsts

    @invariant()
    def the_dead_are_those_that_were_given_up(self) -> None:
        given_up = {job_id for job_id, verdict in self.settled.items() if verdict == "dead"}
        assert set(map(int, self.redis.zrange("pw:dead", 0, -1))) == given_up
        assert self.store.run(ledger.stats()).deliveries_dead == len(given_up)

    @invariant()
    def the_heads_and_the_backlog_agree_with_the_queues(self) -> None:
        heads = dict(self.redis.zrange("pw:heads", 0, -1, withscores=True))
        first = {m: self.redis.zrange(f"pw:ready:{m}", 0, 0, withscores=True) for m in MODELS}
        assert heads == {model: head[0][1] for model, head in first.items() if head}
        for model in MODELS:
            waiting = self.redis.zrange(f"pw:ready:{model}", 0, -1)
            work_waiting = sum(self.known[int(job_id)].cost for job_id in waiting)
            assert int(self.redis.hget("pw:ready_work", model) or 0) == work_waiting
        open_jobs = [known for known in self.known.values() if known.ended_as is None]
        assert int(self.redis.get("pw:backlog") or 0) == sum(known.cost for known in open_jobs)
        work: Counter[str] = Counter()
        for known in open_jobs:
            work[known.tenant] += known.cost
        assert {tenant: int(cost) for tenant, cost in self.redis.hgetall("pw:work_of").items()} == work
        assert set(self.redis.hkeys("pw:weight_of")) == set(work)
        assert self.redis.zcard("pw:deadlines") == len(open_jobs)

    def _delivery(self, job_id: int) -> dict[str, str]:
        fields: dict[str, str] = self.redis.hgetall(f"pw:delivery:{job_id}")
        return fields

    def _suspects(self) -> list[int]:
        return list(map(int, self.redis.zrange("pw:suspects", 0, -1)))

    def _state(self, job_id: int) -> JobState:
        return self.store.run(ledger.read(job_id, None)).state


class LedgerMachine(DeliveryMachine):
    """Clients and workers besides, with stale tokens and expired leases."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")

    @rule(
        target=jobs,
        tenant=st.sampled_from(TENANTS),
        model=st.sampled_from(MODELS),
        priority=st.integers(0, 10),
        weight=st.sampled_from([0.5, 1.0, 4.0]),
        steps=st.integers(1, 50),
        webhook=st.none() | st.sampled_from(RECEIVERS),
        is_overdue=st.booleans(),
        idempotency_key=st.none() | st.sampled_from(["once", "twice"]),
    )
    def accept(
        self,
        tenant: str,
        model: str,
        priority: int,
        weight: float,
        steps: int,
        webhook: str | None,
        is_overdue: bool,
        idempotency_key: str | None,
    ) -> int:
        spec = make_spec(model_id=model, steps=steps, webhook=webhook)
        key = make_key(tenant, priority=priority, weight=weight)
        settings = self.patient.model_copy(update={"job_deadline_s": 0.0}) if is_overdue else self.patient
        call = ledger.accept(spec, key, settings, idempotency_key=idempotency_key, digest="same")
        accepted = self.store.run(call)

        again = self.store.run(call)
        assert (again.job_id, again.is_new) == (accepted.job_id, False)

        if idempotency_key:
            first = self.by_idempotency_key.setdefault((tenant, idempotency_key), accepted.job_id)
            assert first == accepted.job_id
        assert accepted.is_new == (accepted.job_id not in self.known)
        self.known.setdefault(accepted.job_id, Known(tenant, webhook is not None, spec.cost))
        return accepted.job_id

    @rule(
        target=claims,
        loaded=st.sets(st.sampled_from(MODELS)),
        vanishes=st.booleans(),
        is_idle=st.booleans(),
    )
    def claim(self, loaded: set[str], vanishes: bool, is_idle: bool) -> object:
        queued, suspects = self._queued(), self._suspects()
        settings = self.hasty if vanishes else self.patient
        call = ledger.claim("worker", next(self.tokens), settings, sorted(loaded), is_idle=is_idle)
        if suspects and not is_idle:
            with pytest.raises(MakesWay):
                self.store.run(call)
            return multiple()
        claim = self.store.run(call)
        assert (claim is None) == (not queued)
        if claim is None:
            return multiple()
        assert claim.job_id in (suspects or queued)
        assert claim.is_alone == bool(suspects)
        assert 1 <= claim.attempts <= LIMIT
        return claim

    @rule(claim=claims, expires=st.booleans())
    def beat(self, claim: Claim, expires: bool) -> None:
        held = [Held(claim.job_id, claim.token, 0.5)]
        beats = self.store.run(
            ledger.beat("worker", ledger.WorkerFacts(), self.hasty if expires else self.patient, held)
        )
        assert (claim.token in beats.lost) == (not self._holds(claim))

    @rule(claim=claims, state=st.sampled_from([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]))
    def finish(self, claim: Claim, state: JobState) -> None:
        held = self._holds(claim)
        finished = self.store.run(ledger.finish(claim.job_id, claim.token, state, Outcome()))
        if held:
            assert finished.is_mine
            self.known[claim.job_id].ended_as = state

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        held = self._holds(claim)
        assert self.store.run(ledger.release(claim.job_id, claim.token)).is_mine == held
        if held and claim.job_id in self.cancel_asked:
            self.known[claim.job_id].ended_as = JobState.CANCELLED

    @rule(job_id=jobs)
    def cancel(self, job_id: int) -> None:
        known = self.known[job_id]
        cancelled = self.store.run(ledger.cancel(job_id, known.tenant))
        self.cancel_asked.add(job_id)
        assert cancelled.is_mine == (known.ended_as is None)
        if job_id in self._queued() or self._state(job_id) is JobState.CANCELLED:
            known.ended_as = known.ended_as or JobState.CANCELLED

    @rule()
    def sweep(self) -> None:
        self.store.run(ledger.sweep(self.patient))
        for job_id, known in self.known.items():
            state = self._state(job_id)
            if known.ended_as is None and state.is_terminal:
                assert state in (JobState.FAILED, JobState.CANCELLED)
                known.ended_as = state

    def _queued(self) -> set[int]:
        return {job_id for job_id in self.known if self._state(job_id) is JobState.QUEUED}

    def _holds(self, claim: Claim) -> bool:
        return bool(
            self._state(claim.job_id) is JobState.RUNNING
            and self.redis.hget(f"pw:job:{claim.job_id}", "token") == claim.token
        )


@pytest.mark.parametrize("kind", [DeliveryMachine, LedgerMachine])
def test_the_ledger_keeps_its_promises_under_any_interleaving(
    redis_url: str, kind: type[DeliveryMachine]
) -> None:
    kind.redis_url = redis_url
    run_state_machine_as_test(
        kind,
        settings=hypothesis_settings(
            max_examples=35,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def emptied(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, decode_responses=True)


@given(
    queues=st.lists(st.integers(5, 20), min_size=2, max_size=4),
    weights=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=4, max_size=4),
)
@hypothesis_settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_while_all_tenants_wait_each_gets_its_share(
    emptied: redis.Redis, settings: Settings, store: Ledger, queues: list[int], weights: list[float]
) -> None:
    emptied.flushdb()
    for tenant, length in enumerate(queues):
        for _ in range(length):
            key = make_key(f"t{tenant}", weight=weights[tenant])
            store.run(ledger.accept(make_spec(), key, settings, idempotency_key=None, digest=""))

    served: Counter[str] = Counter()
    left = {f"t{tenant}": length for tenant, length in enumerate(queues)}
    while all(left.values()):
        claim = store.run(ledger.claim("worker", "token", settings, []))
        assert claim is not None
        served[claim.tenant] += 1
        left[claim.tenant] -= 1

    shares = [served[f"t{tenant}"] / weights[tenant] for tenant in range(len(queues))]
    assert max(shares) - min(shares) <= 2
