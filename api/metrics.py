"""What the gateway tells Prometheus: its own requests, and the cluster's state as the ledger has it."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram, generate_latest

from shared.errors import (
    PrintworksError,
    QueueFull,
    TooManyBodies,
    TooManyJobs,
    TooManyRequests,
)
from shared.jobs import JobSpec, JobState, Kind
from shared.ledger import Stats
from shared.monitoring import new_registry

REASONS: dict[type[PrintworksError], str] = {
    QueueFull: "queue_full",
    TooManyBodies: "too_many_bodies",
    TooManyJobs: "too_many_jobs",
    TooManyRequests: "too_many_requests",
}
"""Errors that clients know by one code, and that have different cures."""


class Metrics:
    """One registry per app, so that two apps in one process don't share counts."""

    def __init__(self) -> None:
        self._registry = new_registry("gateway")
        self.requests = Counter(
            "printworks_requests",
            "Requests answered by this gateway",
            ["route", "status"],
            registry=self._registry,
        )
        self.request_seconds = Histogram(
            "printworks_request_seconds",
            "Time to answer, waiting for pictures included",
            ["route"],
            registry=self._registry,
        )
        self._jobs_accepted = Counter(
            "printworks_jobs_accepted",
            "Jobs accepted by this gateway",
            ["endpoint", "model"],
            registry=self._registry,
        )
        self._jobs_refused = Counter(
            "printworks_jobs_refused",
            "Requests for jobs that this gateway has refused",
            ["endpoint", "reason"],
            registry=self._registry,
        )
        self.jobs_given = Counter(
            "printworks_jobs_given",
            "Jobs that this gateway gave to other servers and that have left them",
            ["peer", "end"],
            registry=self._registry,
        )
        self._jobs = self._gauge("printworks_jobs", "Jobs that are not finished", ["state"])
        self._ended = self._gauge("printworks_jobs_ended", "Jobs ended since the ledger began", ["state"])
        self._backlog = self._gauge("printworks_backlog_seconds", "Predicted time to do all open jobs")
        self._workers = self._gauge("printworks_workers", "GPU workers that beat")
        self._deliveries = self._gauge("printworks_deliveries", "Webhooks to send, or given up", ["state"])

    def _gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, documentation, labels, registry=self._registry)

    def accepted(self, spec: JobSpec) -> None:
        self._jobs_accepted.labels(endpoint=spec.kind, model=spec.registered_model).inc()

    @contextmanager
    def refusals(self, endpoint: Kind) -> Iterator[None]:
        """Counts the error that a request for a job is refused with, if one leaves the block."""
        try:
            yield
        except Exception as exc:
            self._jobs_refused.labels(endpoint=endpoint, reason=_reason(exc)).inc()
            raise

    def render(self, stats: Stats) -> bytes:
        """Prometheus' text format, with the cluster's state as the ledger has it now."""
        for state, count in (("queued", stats.queued), ("running", stats.running), ("away", stats.away)):
            self._jobs.labels(state=state).set(count)
        for state in (state for state in JobState if state.is_terminal):
            self._ended.labels(state=state).set(stats.totals.get(state, 0))
        self._backlog.set(stats.backlog_s)
        self._workers.set(len(stats.workers))
        self._deliveries.labels(state="waiting").set(stats.deliveries_waiting)
        self._deliveries.labels(state="dead").set(stats.deliveries_dead)
        return generate_latest(self._registry)

    def render_own(self) -> bytes:
        """What this gateway counted itself, when the ledger can't be asked: old gauges would be lies."""
        for gauge in (self._jobs, self._ended, self._deliveries):
            gauge.clear()
        for gauge in (self._backlog, self._workers):
            gauge.set(math.nan)
        return generate_latest(self._registry)


def _reason(error: Exception) -> str:
    """Of a few words that are known beforehand."""
    if isinstance(error, PrintworksError):
        return REASONS.get(type(error), error.code)
    return PrintworksError.code
