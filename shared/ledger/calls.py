"""Every call of the ledger as a value: which script, which arguments, and how to read the reply.

One definition serves both clients; nothing here talks to Redis.
"""

import hashlib
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from shared.api_keys import ApiKey
from shared.broker import GPU_QUEUES, WEBHOOK_QUEUE
from shared.errors import (
    EntryGone,
    IdempotencyConflict,
    JobNotFound,
    MakesWay,
    OfAnotherVersion,
    QueueFull,
    TooManyJobs,
)
from shared.jobs import AnySpec, Job, JobSpec, JobState, Kind, Outcome, spec_from_json
from shared.ledger.worker_facts import WorkerFacts
from shared.settings import Settings
from shared.version import VERSION

T = TypeVar("T")
Argument = str | int | float
Reply = list[Any]
Bells = tuple[str, ...]
"""Queues in which a bell is wanted."""

IDEMPOTENCY_LIFE_S = 24 * 3600
RETRY_LIFE_S = 600
"""How long an accept without an Idempotency-Key of the client's can be repeated by ourselves."""
HEAD_START_PER_PRIORITY = 500_000
"""Work units by which one step of priority moves a job ahead; with ten steps at most, nobody starves."""
SWEEP_BATCH = 200
UNKNOWN_PACE_MS = 0.1
"""Per work unit, until the first job has told: between a fast GPU's and a slow CPU's."""
SOONEST_RETRY_S = 5
"""When the queue is full."""
FULL_RETRY_S = 30
"""When jobs of the tenant's must end first, or memory be freed: nobody can tell when that is."""

NOT_FOUND = "Request not found"
OTHER_BODY = "This Idempotency-Key was used with another body: send a new key."

MAKES_WAY = "A job that may have ended its workers needs this one to itself."
CANCELLED = Outcome(reason="The job was cancelled.")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One script call. `parse` reads the reply and may raise a `PrintworksError`."""

    script: str
    arguments: Sequence[Argument]
    parse: Callable[[Reply], T]
    is_perishable: bool = False
    """To be done soon or not at all: nobody would hear of a job that was taken late."""


@dataclass(frozen=True)
class Accepted:
    """`is_new` is false when an earlier call with the same idempotency key made the job."""

    job_id: int
    is_new: bool
    bells: Bells


@dataclass(frozen=True)
class Claim:
    """A leased job; `token` fences its holder."""

    job_id: int
    token: str
    tenant: str
    attempts: int
    spec: AnySpec
    bells: Bells
    is_alone: bool = False
    """It may be what ended its workers before: nothing may run beside it."""
    waited_s: float = 0.0
    """Since it was accepted, by Redis' clock; not told of loads, nor of jobs that are given to a peer."""


class UnreadableClaim(OfAnotherVersion):
    """Of a job that was leased to this process, and that a newer one must make."""

    def __init__(self, detail: str, job_id: int, token: str) -> None:
        super().__init__(detail)
        self.job_id = job_id
        self.token = token


@dataclass(frozen=True)
class Held:
    """A lease as its holder reports it."""

    job_id: int
    token: str
    progress: float


@dataclass(frozen=True)
class Beats:
    """Tokens of leases that the worker has lost, and of jobs that it must cancel; what it is told besides."""

    lost: frozenset[str]
    cancelled: frozenset[str]
    orders: dict[str, int]
    """How often each order was given since the ledger began."""


@dataclass(frozen=True)
class Sweep:
    requeued: int
    failed: int
    cancelled: int
    overdue: int
    bells: Bells


@dataclass(frozen=True)
class Finished:
    """`is_mine` is false when the lease was lost: the outcome was not written."""

    is_mine: bool
    bells: Bells


def find(idempotency_key: str, key: ApiKey, digest: str) -> Call[int | None]:
    """The job that this key made before, or None; raises `IdempotencyConflict` if the body was another."""

    def parse(reply: Reply) -> int | None:
        if reply and reply[0] == "conflict":
            raise IdempotencyConflict(OTHER_BODY)
        return int(reply[0]) if reply else None

    return Call("find", [_hashed(idempotency_key), digest, key.tenant], parse)


def accept(
    spec: JobSpec, key: ApiKey, settings: Settings, *, idempotency_key: str | None, digest: str
) -> Call[Accepted]:
    """Accept a job. `digest` is that of the client's body; safe to repeat with the same `spec`.

    Raises `IdempotencyConflict` if the key came with another body before, `TooManyJobs` if the tenant has as
    many open ones as it may have, `QueueFull` if it would wait for too long or there is no room for it,
    `EntryGone` if something that the job uses was deleted meanwhile.
    """

    def parse(reply: Reply) -> Accepted:
        match reply[0]:
            case "conflict":
                raise IdempotencyConflict(OTHER_BODY)
            case "full":
                raise TooManyJobs(
                    f"Rate limit exceeded. Maximum {key.max_open_jobs} queued requests allowed.", FULL_RETRY_S
                )
            case "queue":
                raise _too_long_a_wait(int(reply[1]) / 1000, settings.max_wait_s)
            case "memory":
                raise QueueFull(
                    "Rate limit exceeded. This server can remember no more jobs: send the request later.",
                    FULL_RETRY_S,
                )
            case "gone":
                raise EntryGone("A model was deleted at this moment: send the request again.")
        return Accepted(job_id=int(reply[0]), is_new=reply[1] == "1", bells=tuple(reply[2]))

    life_s = IDEMPOTENCY_LIFE_S if idempotency_key else RETRY_LIFE_S
    name = _hashed(idempotency_key) if idempotency_key else spec.file_prefix
    return Call(
        "accept",
        [
            name,
            life_s * 1000,
            digest,
            key.tenant,
            spec.model_id,
            spec.cost,
            key.weight,
            key.priority * HEAD_START_PER_PRIORITY,
            spec.webhook.receiver if spec.webhook else "",
            in_ms(settings.retention_s),
            spec.model_dump_json(),
            GPU_QUEUES,
            "1" if spec.kind is Kind.LOAD_MODEL else "0",
            "" if key.max_open_jobs is None else key.max_open_jobs,
            " ".join(sorted(spec.uses)),
            in_ms(settings.max_wait_s),
            UNKNOWN_PACE_MS,
            in_ms(settings.job_deadline_s),
            "1" if spec.home else "0",
        ],
        parse,
        is_perishable=True,
    )


def claim_load(worker: str, token: str, settings: Settings, *, version: str = VERSION) -> Call[Claim | None]:
    """Lease the load of a model that has waited longest; None if none waits."""

    def parse(reply: Reply) -> Claim | None:
        return read_claim(token, reply) if reply else None

    _, serves = _pool(settings)
    arguments: list[Argument] = [worker, token, in_ms(settings.lease_s), serves, version]
    return Call("claim_load", arguments, parse, is_perishable=True)


def claim(
    worker: str,
    token: str,
    settings: Settings,
    loaded_models: Sequence[str],
    *,
    is_idle: bool = True,
    version: str = VERSION,
) -> Call[Claim | None]:
    """Lease the next job; None if nothing waits. `is_idle`: the worker holds no job. Raises `MakesWay` if it
    is to claim nothing until then."""

    def parse(reply: Reply) -> Claim | None:
        if reply == ["way"]:
            raise MakesWay(MAKES_WAY)
        if not reply:
            return None
        claimed = read_claim(token, reply, bells=tuple(reply[4]))
        return replace(claimed, is_alone=reply[5] == "1", waited_s=int(reply[6]) / 1000)

    arguments: list[Argument] = [
        worker,
        token,
        in_ms(settings.lease_s),
        settings.affinity_slack,
        GPU_QUEUES,
        *("1" if is_idle else "0", *_pool(settings), version),
        *loaded_models,
    ]
    return Call("claim", arguments, parse, is_perishable=True)


def beat(worker: str, facts: WorkerFacts, settings: Settings, held: Sequence[Held]) -> Call[Beats]:
    """Renew leases and presence."""

    def parse(reply: Reply) -> Beats:
        lost, cancelled, orders = reply
        given = dict(zip(orders[::2], map(int, orders[1::2]), strict=True))
        return Beats(lost=frozenset(lost), cancelled=frozenset(cancelled), orders=given)

    lease_ms = in_ms(settings.lease_s)
    return Call(
        "beat", [worker, lease_ms, facts.model_dump_json(), lease_ms, *_pool(settings), *renewed(held)], parse
    )


def worker_ends(worker: str) -> Call[None]:
    """A worker ends, holding nothing."""
    return Call("worker_ends", [worker], lambda _: None)


def _pool(settings: Settings) -> tuple[str, str]:
    """A worker's, and what that serves."""
    return settings.pool, " ".join(settings.serves)


def renewed(held: Sequence[Held]) -> list[Argument]:
    """Leases as the scripts read them that renew them."""
    return [part for each in held for part in (each.job_id, each.token, round(each.progress, 4))]


def finish(job_id: int, token: str, state: JobState, outcome: Outcome) -> Call[Finished]:
    """Write the outcome, once. Safe to repeat."""
    arguments: list[Argument] = [job_id, token, state, outcome.model_dump_json(), WEBHOOK_QUEUE]
    return Call("finish", arguments, _finished("finished"))


def release(job_id: int, token: str, *, stays: bool = False, unreadable_by: str = "") -> Call[Finished]:
    """Give a job back without counting the attempt; one that was cancelled meanwhile ends. `stays`: no other
    server is to get it any more. `unreadable_by`: a version that is not to get it again."""
    arguments: list[Argument] = [
        *(job_id, token, GPU_QUEUES, CANCELLED.model_dump_json()),
        *("1" if stays else "0", unreadable_by),
    ]
    return Call("release", arguments, _finished("released"))


def cancel(job_id: int, tenant: str) -> Call[Finished]:
    """Cancel a tenant's job; raises `JobNotFound`. `is_mine` tells that it was not terminal before."""

    def parse(reply: Reply) -> Finished:
        if not reply:
            raise JobNotFound(NOT_FOUND)
        return Finished(is_mine=not JobState(reply[0]).is_terminal, bells=tuple(reply[1]))

    return Call("cancel", [job_id, tenant, CANCELLED.model_dump_json(), WEBHOOK_QUEUE], parse)


def sweep(settings: Settings) -> Call[Sweep]:
    """Take back expired leases, end what is overdue, and tell which bells are wanted."""

    def parse(reply: Reply) -> Sweep:
        requeued, failed, cancelled, overdue, bells = reply
        return Sweep(int(requeued), int(failed), int(cancelled), int(overdue), tuple(bells))

    limit = settings.max_attempts
    worn_out = Outcome(reason=f"Every worker that tried this job vanished ({limit} attempts).")
    overdue = Outcome(reason=f"The job was not done within {settings.job_deadline_s:g} s, its deadline.")
    without_sweeps_s = max(settings.lease_s / 3, 3 * settings.sweep_s)
    arguments: list[Argument] = [
        limit,
        *(outcome.model_dump_json() for outcome in (worn_out, CANCELLED, overdue)),
        *(GPU_QUEUES, WEBHOOK_QUEUE),
        *(SWEEP_BATCH, in_ms(settings.lease_s), in_ms(without_sweeps_s)),
    ]
    return Call("sweep", arguments, parse)


def read(job_id: int, tenant: str | None) -> Call[Job]:
    """A tenant's job (`None`: anybody's, for our own processes); raises `JobNotFound`."""

    def parse(reply: Reply) -> Job:
        if not reply:
            raise JobNotFound(NOT_FOUND)
        _, owner, state, spec, attempts, progress, outcome, running_ms, backlog, pace = reply
        return Job(
            id=job_id,
            tenant=owner,
            state=JobState(state),
            spec=spec_from_json(spec),
            attempts=int(attempts),
            progress=float(progress),
            outcome=Outcome.model_validate_json(outcome) if outcome else None,
            eta_s=_eta_s(float(progress), float(running_ms), float(backlog) * float(pace)),
        )

    return Call("read", [job_id, tenant or ""], parse)


def worker_name(pid: int) -> str:
    """The name of this machine's GPU worker with this process id. A restarted worker is another one."""
    return f"{platform.node()}-{pid}"


def in_ms(seconds: float) -> int:
    return round(seconds * 1000)


def _too_long_a_wait(wait_s: float, most_s: float) -> QueueFull:
    retry_s = max(SOONEST_RETRY_S, math.ceil(wait_s - most_s))
    return QueueFull(
        f"Rate limit exceeded. The queue is full: this request would wait for about {wait_s:.0f} s, and "
        f"{most_s:g} s are allowed. Send it again in {retry_s} s.",
        retry_s,
    )


def read_claim(token: str, reply: Reply, *, bells: Bells = ()) -> Claim:
    """Raises `UnreadableClaim`: the lease is taken all the same."""
    job_id, tenant, attempts, spec = reply[:4]
    try:
        return Claim(
            job_id=int(job_id),
            token=token,
            tenant=tenant,
            attempts=int(attempts),
            spec=spec_from_json(spec),
            bells=bells,
        )
    except OfAnotherVersion as exc:
        raise UnreadableClaim(exc.detail, int(job_id), token) from None


def _hashed(idempotency_key: str) -> str:
    return hashlib.sha256(idempotency_key.encode()).hexdigest()


def _finished(word: str) -> Callable[[Reply], Finished]:
    return lambda reply: Finished(is_mine=reply[0] == word, bells=tuple(reply[1]))


def _eta_s(progress: float, running_ms: float, backlog_ms: float) -> float:
    """By the job's own speed once it has one, else by the cluster's pace over all that waits."""
    if progress > 0:
        return running_ms * (1 - progress) / progress / 1000
    return backlog_ms / 1000
