"""What the gateway tells Prometheus: its own requests, and the cluster's state."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram, generate_latest

from api.cluster_metrics import ClusterMetrics
from shared.errors import (
    PrintworksError,
    QueueFull,
    TooManyBodies,
    TooManyJobs,
    TooManyRequests,
)
from shared.jobs import JobSpec, Kind
from shared.ledger import Census
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

    def render(self, census: Census | None) -> bytes:
        """Prometheus' text format. None: the ledger can't be asked, and old figures of it would be lies."""
        return generate_latest(self._registry) + generate_latest(ClusterMetrics(census))


def _reason(error: Exception) -> str:
    """Of a few words that are known beforehand."""
    if isinstance(error, PrintworksError):
        return REASONS.get(type(error), error.code)
    return PrintworksError.code
