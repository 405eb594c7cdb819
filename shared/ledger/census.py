"""What the cluster is doing, by model, worker and weight of keys, as the ledger has it at one moment."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.ledger.calls import UNKNOWN_PACE_MS, Call

MOST_LOOKED_AT = 2000


@dataclass(frozen=True)
class ModelJobs:
    """The open jobs of one model. Work is in work units, without what running jobs have done."""

    model_id: str
    queued: int
    running: int
    away: int
    """At other servers; their work is not counted."""
    queued_work: float
    running_work: float


class WorkerFacts(BaseModel):
    """What a GPU worker that beats says of itself."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    name: str
    running: int
    pool: str = "default"
    serves: frozenset[str] = frozenset()
    """Ids of models; empty: all."""
    slots: int = 0

    def takes(self, model_id: str) -> bool:
        return not self.serves or model_id in self.serves


@dataclass(frozen=True)
class TenantJobs:
    open: int
    work: float
    weight: float


@dataclass(frozen=True)
class Census:
    models: tuple[ModelJobs, ...]
    workers: tuple[WorkerFacts, ...]
    tenants: tuple[TenantJobs, ...]
    oldest_queued_s: float
    """Since the queued job that waits longest was accepted; 0 if none waits."""
    work: float
    """Of all open jobs that are not away."""
    pace_ms: float
    """Per work unit, of the whole cluster."""
    job_pace_ms: float
    """Per work unit, of one worker."""
    deliveries_waiting: int
    deliveries_dead: int
    totals: dict[str, int]


def census() -> Call[Census]:
    return Call("census", [MOST_LOOKED_AT], _parse)


def _parse(reply: Sequence[Any]) -> Census:
    models, workers, tenants, oldest_ms, work, pace, job_pace, waiting, dead, totals = reply
    return Census(
        models=tuple(
            ModelJobs(model, int(queued), int(running), int(away), float(waits), float(left))
            for model, queued, running, away, waits, left in models
        ),
        workers=tuple(
            WorkerFacts(**json.loads(facts) | {"name": name, "running": running})
            for name, running, facts in workers
        ),
        tenants=tuple(TenantJobs(int(count), float(its), float(weight)) for count, its, weight in tenants),
        oldest_queued_s=int(oldest_ms) / 1000,
        work=float(work),
        pace_ms=float(pace or UNKNOWN_PACE_MS),
        job_pace_ms=float(job_pace or pace or UNKNOWN_PACE_MS),
        deliveries_waiting=int(waiting),
        deliveries_dead=int(dead),
        totals=dict(zip(totals[::2], map(int, totals[1::2]), strict=True)),
    )
