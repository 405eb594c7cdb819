"""The ledger's calls about other servers: jobs that go there and come back, and who the servers are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import OfAnotherVersion
from shared.jobs import AnySpec, JobState, spec_from_json
from shared.ledger.calls import Argument, Call, Claim, Held, Reply, in_ms, read_claim, renewed
from shared.ledger.worker_facts import WorkerFacts
from shared.settings import Settings

MOST_LEAVERS = 64
"""Jobs that are looked at in one round."""


@dataclass(frozen=True)
class Leaver:
    """A job that waits here and that another server may make."""

    job_id: int
    cost: int
    model_id: str
    peer: str
    """Who had it last, and may have it still; empty if nobody had."""
    spec: AnySpec


@dataclass(frozen=True)
class ServerLoad:
    """What this server has to do, how fast it is, and which of its jobs may leave."""

    work_left: float
    pace_ms: float | None
    job_pace_ms: float | None
    open_jobs: int
    workers: tuple[WorkerFacts, ...]
    """Those that beat."""
    leavers: tuple[Leaver, ...]
    """The first of them, in order."""
    leavers_behind: int
    """How many more there are."""


def load(most_leavers: int = MOST_LEAVERS) -> Call[ServerLoad]:
    def parse(reply: Any) -> ServerLoad:
        work, pace, job_pace, open_jobs, may_leave, facts, leavers = reply
        workers = tuple(WorkerFacts.model_validate_json(each) for each in facts)
        return ServerLoad(
            work_left=max(0.0, float(work) - sum(each.work_done for each in workers)),
            pace_ms=float(pace) if pace else None,
            job_pace_ms=float(job_pace) if job_pace else None,
            open_jobs=int(open_jobs),
            workers=workers,
            leavers=tuple(found for each in leavers if (found := _leaver(*each))),
            leavers_behind=int(may_leave) - len(leavers),
        )

    return Call("load", [most_leavers], parse)


def _leaver(job_id: str, cost: str, model: str, peer: str, spec: str) -> Leaver | None:
    """None for one that only another version can read: it stays."""
    try:
        return Leaver(int(job_id), int(cost), model, peer, spec_from_json(spec))
    except OfAnotherVersion:
        return None


def give(job_id: int, gateway: str, token: str, peer: str, settings: Settings) -> Call[Claim | None]:
    """Lease a job that waits to a gateway that gives it to a peer; None if it waits no longer."""

    def parse(reply: Reply) -> Claim | None:
        return read_claim(token, reply) if reply else None

    arguments: list[Argument] = [job_id, gateway, token, in_ms(settings.lease_s), peer]
    return Call("give", arguments, parse, is_perishable=True)


def renew(settings: Settings, held: Sequence[Held]) -> Call[tuple[frozenset[str], frozenset[str]]]:
    """Renew the leases of jobs that are away: tokens of those that are lost, and of those to cancel."""
    arguments: list[Argument] = [in_ms(settings.lease_s), *renewed(held)]
    return Call("renew", arguments, lambda reply: (frozenset(reply[0]), frozenset(reply[1])))


def states(job_ids: Sequence[int], tenant: str) -> Call[dict[int, tuple[JobState, float]]]:
    """State and progress of a tenant's jobs, by their ids, of those that there are."""

    def parse(reply: Any) -> dict[int, tuple[JobState, float]]:
        found = zip(job_ids, reply, strict=True)
        return {job_id: (JobState(state), float(progress)) for job_id, (state, progress) in found if state}

    return Call("states", [tenant, *job_ids], parse)


def lease_of(job_id: int) -> Call[str | None]:
    """The token under which a job is away; None if it is not."""
    return Call("lease_of", [job_id], lambda reply: reply[0] if reply else None)


def came_back(job_id: int) -> Call[None]:
    """Tell all gateways of this server that a peer has ended the job."""
    return Call("came_back", [job_id], lambda _: None)


def peers() -> Call[dict[str, str]]:
    """What admins have added: name → sealed content, empty for one that they took away."""
    return Call("peers", [], lambda reply: dict(zip(reply[::2], reply[1::2], strict=True)))


def set_peer(name: str, sealed: str) -> Call[None]:
    """Add a peer; empty takes it away."""
    return Call("set_peer", [name, sealed], lambda _: None)
