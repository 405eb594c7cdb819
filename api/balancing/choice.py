"""Which server would finish a job first. Pure: no clock, no network, no ledger; its dice are an argument.

Its constants are what `tests.bench.simulate` says is best: docs/PERFORMANCE.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ALIKE_S = 1.0
"""Finishing times that differ by less are the same: what is known of peers is about that old."""
DRAWN = 2
"""Of peers that are alike, and the emptier of them gets the job: who compares all picks what others pick."""
HORIZON_S = 10.0
"""A peer where jobs wait so long gets no more: what is given is hard to take back, and speeds change."""
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
    """The same of one job that has a worker to itself; loads of models (`load_s`) left out."""
    workers: int = Field(ge=0)
    """Each with a GPU of its own."""
    slots: int = Field(ge=0)
    """Jobs that they can hold at a time; 0: none of them lives."""
    open_jobs: int = Field(ge=0)
    """Jobs that wait or run there."""
    warmth: dict[str, Annotated[float, Field(gt=0, le=1)]] = {}
    """Share of the workers that have loaded a model, by its id."""
    load_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How long it takes to load a model there."""

    def without(self, work: float, jobs: int) -> "Load":
        """As if these jobs were not there."""
        left = {"work_left": max(0.0, self.work_left - work), "open_jobs": max(0, self.open_jobs - jobs)}
        return self.model_copy(update=left)


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

    @property
    def fullness(self) -> float:
        return self.open_jobs / self.load.slots

    def wait_s(self, typical_pace_ms: float) -> float:
        """Until a job that comes now is begun: until so many have ended that a slot is free."""
        if self.load.slots == 0:
            return math.inf
        if self.open_jobs < self.load.slots:
            return 0.0
        pace_ms = self.load.pace_ms or typical_pace_ms
        ahead = (self.open_jobs - self.load.slots + 1) / self.open_jobs
        return (self.load.work_left + self.sent_work) * ahead * pace_ms / 1000

    def finish_s(self, job: Wanted, typical_pace_ms: float) -> float:
        """Until the job would be done."""
        pace_ms = self.load.job_pace_ms or (self.load.pace_ms or typical_pace_ms) * self.load.workers
        making_s = job.cost * pace_ms / 1000 * self.company
        return self.wait_s(typical_pace_ms) + self.cold_s(job) + making_s + self.network_s

    @property
    def company(self) -> float:
        """How many jobs would share a worker with one that comes now, that one included."""
        beside = min(self.open_jobs + 1, self.load.slots)
        return max(1.0, beside / max(1, self.load.workers))

    def cold_s(self, job: Wanted) -> float:
        """To load the model, by the chance that the worker which takes the job has not."""
        warmth = self.load.warmth.get(job.model_id, 0.0)
        return (1 - warmth) * (self.load.load_s or UNKNOWN_LOAD_S)

    def has_room(self, typical_pace_ms: float) -> bool:
        """Whether it can use more work soon."""
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

    The others stay, and are looked at again next time. That is also what a job does that a peer without room
    would finish sooner than one with room: to wait for a loaded model costs less than to load it once more.
    """
    typical = _typical_pace_ms([home, *(peer.standing.load for peer in peers)])
    # each of the jobs that wait is ahead of those behind it only
    here = Standing(home.without(sum(job.cost for job in waiting), len(waiting)))
    roomy = [peer for peer in peers if peer.standing.has_room(typical)]
    found = []
    for job in waiting:
        if not roomy:
            break
        finish_s = {
            peer.name: peer.standing.finish_s(job, typical) for peer in peers if job.job_id in peer.able
        }
        before_s = min(here.finish_s(job, typical), min(finish_s.values(), default=math.inf) + ALIKE_S)
        best = _emptier([peer for peer in roomy if finish_s.get(peer.name, math.inf) < before_s], dice)
        if not best:
            here.send(job)
            continue
        best.standing.send(job)
        found.append(Move(job, best.name))
        if not best.standing.has_room(typical):
            roomy.remove(best)
    return found


def _emptier(alike: Sequence[Candidate], dice: Random) -> Candidate | None:
    drawn = dice.sample(alike, min(DRAWN, len(alike)))  # in random order, and so are ties
    return min(drawn, key=lambda peer: peer.standing.fullness, default=None)


def _typical_pace_ms(loads: Sequence[Load]) -> float:
    """Of a server that has not shown its own yet."""
    return median([load.pace_ms for load in loads if load.pace_ms] or [UNKNOWN_PACE_MS])
