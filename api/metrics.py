"""What the gateway tells Prometheus: its own requests, and the cluster's state."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from api.cluster_metrics import ClusterMetrics
from shared.ledger import Census


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

    def render(self, census: Census | None) -> bytes:
        """Prometheus' text format. None: the ledger can't be asked, and old figures of it would be lies."""
        return generate_latest(self._registry) + generate_latest(ClusterMetrics(census))
