"""What the cluster is doing, by model, worker and weight of keys, as the ledger has it at one moment."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.ledger.calls import UNKNOWN_PACE_MS, Call
from shared.ledger.worker_facts import WorkerFacts


@dataclass(frozen=True)
class ModelJobs:
    """The open jobs of one model. Work is in work units, without what running jobs have done."""

    model_id: str
    queued: int = 0
    running: int = 0
    away: int = 0
    """At other servers; their work is not counted."""
    work: float = 0.0


@dataclass(frozen=True)
class TenantJobs:
    open: int
    work: float
    weight: float


@dataclass(frozen=True)
class Census:
    models: tuple[ModelJobs, ...]
    """Those that have open jobs."""
    workers: tuple[WorkerFacts, ...]
    """Those that beat."""
    tenants: tuple[TenantJobs, ...]
    oldest_queued_s: float
    """Since the queued job that waits longest was accepted; 0 if none waits."""
    work: float
    """Of all open jobs that are not away, those that run counted whole."""
    pace_ms: float
    """Per work unit, of the whole cluster."""
    job_pace_ms: float
    """Per work unit, of one worker."""
    deliveries_waiting: int
    deliveries_dead: int
    totals: dict[str, int]
    loads_waiting: int
    """Loads of models that no worker has begun."""

    @property
    def wait_s(self) -> float:
        """Predicted until all open jobs are done."""
        return max(0.0, self.work - sum(each.work_done for each in self.workers)) * self.pace_ms / 1000


def census() -> Call[Census]:
    return Call("census", [], _parse)


def _parse(reply: Sequence[Any]) -> Census:
    queued, away, facts, tenants, oldest_ms, work, pace, job_pace, waiting, dead, totals, loads = reply
    workers = tuple(WorkerFacts.model_validate_json(each) for each in facts)
    return Census(
        models=_by_model(queued, away, workers),
        workers=workers,
        tenants=tuple(TenantJobs(int(count), float(its), float(weight)) for count, its, weight in tenants),
        oldest_queued_s=int(oldest_ms) / 1000,
        work=float(work),
        pace_ms=float(pace or UNKNOWN_PACE_MS),
        job_pace_ms=float(job_pace or pace or UNKNOWN_PACE_MS),
        deliveries_waiting=int(waiting),
        deliveries_dead=int(dead),
        totals=dict(zip(totals[::2], map(int, totals[1::2]), strict=True)),
        loads_waiting=int(loads),
    )


def _by_model(
    queued: Sequence[Sequence[Any]], away: Sequence[str], workers: Sequence[WorkerFacts]
) -> tuple[ModelJobs, ...]:
    waiting = {model: (int(count), float(work)) for model, count, work in queued}
    gone = Counter(away)
    names = {*waiting, *gone, *(model for worker in workers for model in worker.jobs)}
    return tuple(_of_model(name, *waiting.get(name, (0, 0.0)), gone[name], workers) for name in sorted(names))


def _of_model(
    model_id: str, queued: int, work: float, away: int, workers: Sequence[WorkerFacts]
) -> ModelJobs:
    held = [worker.jobs[model_id] for worker in workers if model_id in worker.jobs]
    return ModelJobs(
        model_id,
        queued=queued,
        running=sum(each.jobs for each in held),
        away=away,
        work=work + sum(each.work_left for each in held),
    )
