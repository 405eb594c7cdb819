"""Which server would finish a job first. Pure: no clock, no network, no ledger; its dice are an argument."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median

from pydantic import BaseModel, ConfigDict, Field

FEW = 8
"""Servers that are all compared. Of more, two are drawn: who compares all of many picks what others pick."""
DRAWN = 2
HORIZON_S = 4.0
"""A server with so much to do gets no more: what is given is hard to take back, and speeds change."""
UNKNOWN_PACE_MS = 0.1
"""Per work unit, while no server has done anything yet."""
UNKNOWN_LOAD_S = 10.0


class Load(BaseModel):
    """What a server has to do, and how fast it is, as it tells itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    work_left: float = Field(ge=0, allow_inf_nan=False)
    """Work units (`JobSpec.cost`) that are to be done there."""
    pace_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Wall-clock time per work unit, of all its workers together; None: it has not done anything yet."""
    job_pace_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The same of one job while it is made."""
    slots: int = Field(ge=0)
    """Jobs that its workers can hold at a time; 0: none of them lives."""
    open_jobs: int = Field(ge=0)
    """Jobs that wait or run there."""
    loaded: frozenset[str] = frozenset()
    """Ids of the models that a worker has loaded."""
    load_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How long it takes to load a model there."""


@dataclass(frozen=True)
class Wanted:
    """A job that waits, as far as the choice needs to know it."""

    job_id: int
    cost: int
    model_id: str


@dataclass
class Standing:
    """A server as it is seen here: what it told last, and what it got from here since."""

    load: Load
    network_s: float = 0.0
    """What it costs to go there and back."""
    sent_work: float = 0.0
    sent_jobs: int = 0

    def send(self, job: Wanted) -> None:
        """It counts before the server tells of it: or all jobs would go to who was free a moment ago."""
        self.sent_work += job.cost
        self.sent_jobs += 1

    @property
    def open_jobs(self) -> int:
        return self.load.open_jobs + self.sent_jobs

    def wait_s(self, typical_pace_ms: float) -> float:
        """Until a job that comes now is begun. What is ahead of it counts as far as the slots are taken."""
        if self.load.slots == 0:
            return math.inf
        pace_ms = self.load.pace_ms or typical_pace_ms
        taken = min(1.0, self.open_jobs / self.load.slots)
        return (self.load.work_left + self.sent_work) * pace_ms / 1000 * taken

    def finish_s(self, job: Wanted, typical_pace_ms: float) -> float:
        """Until the job would be done."""
        pace_ms = self.load.job_pace_ms or self.load.pace_ms or typical_pace_ms
        is_cold = job.model_id not in self.load.loaded
        cold_s = (self.load.load_s or UNKNOWN_LOAD_S) if is_cold else 0.0
        return self.wait_s(typical_pace_ms) + job.cost * pace_ms / 1000 + cold_s + self.network_s

    def has_room(self, typical_pace_ms: float) -> bool:
        """Whether it can use more work soon."""
        if self.open_jobs < self.load.slots:
            return True
        return self.wait_s(typical_pace_ms) < HORIZON_S


@dataclass
class Candidate:
    """A peer that may get jobs, by its name, and which jobs it can do."""

    name: str
    standing: Standing
    able: frozenset[int] = field(default_factory=frozenset)
    """Ids of the jobs."""


@dataclass(frozen=True)
class Move:
    """A job is to go to a peer."""

    job: Wanted
    peer: str


def moves(waiting: Sequence[Wanted], home: Load, peers: Sequence[Candidate], dice: Random) -> list[Move]:
    """Which of the jobs that wait here, in their order, would be done sooner elsewhere, and where.

    The others stay, and are looked at again next time: nobody waits in a server's queue while another has
    nothing to do.
    """
    typical = _typical_pace_ms([home, *(peer.standing.load for peer in peers)])
    here = Standing(_without(home, waiting))
    found = []
    for job in waiting:
        open_ones = [peer for peer in peers if job.job_id in peer.able and peer.standing.has_room(typical)]
        best = _first_done(job, open_ones, typical, dice)
        if best and best.standing.finish_s(job, typical) < here.finish_s(job, typical):
            best.standing.send(job)
            found.append(Move(job, best.name))
        else:
            here.send(job)
    return found


def _first_done(
    job: Wanted, peers: Sequence[Candidate], typical_pace_ms: float, dice: Random
) -> Candidate | None:
    drawn = dice.sample(peers, len(peers) if len(peers) <= FEW else DRAWN)  # shuffled: ties are random
    return min(drawn, key=lambda peer: peer.standing.finish_s(job, typical_pace_ms), default=None)


def _without(home: Load, waiting: Sequence[Wanted]) -> Load:
    """Each of the jobs that wait is ahead of those behind it only."""
    work = sum(job.cost for job in waiting)
    left = {
        "work_left": max(0.0, home.work_left - work),
        "open_jobs": max(0, home.open_jobs - len(waiting)),
    }
    return home.model_copy(update=left)


def _typical_pace_ms(loads: Sequence[Load]) -> float:
    """Of a server that has not shown its own yet."""
    return median([load.pace_ms for load in loads if load.pace_ms] or [UNKNOWN_PACE_MS])
