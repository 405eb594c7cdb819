"""What the gateway tells Prometheus: its own requests, and the cluster's state as the ledger has it."""

import math
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from shared.jobs import JobState
from shared.ledger import Stats


class Metrics:
    """One registry per app, so that two apps in one process don't share counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
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
        self.jobs_accepted = Counter(
            "printworks_jobs_accepted", "Jobs accepted by this gateway", ["kind"], registry=self._registry
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
