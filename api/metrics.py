"""What the gateway tells Prometheus: its own requests, and the cluster's state as the ledger has it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
        self._cluster = Gauge(
            "printworks_cluster", "The cluster's state, from the ledger", ["what"], registry=self._registry
        )

    def render(self, stats: Stats | None) -> bytes:
        """Prometheus' text format. Without a ledger the cluster's gauges are left out, not made up."""
        self._cluster.clear()
        if stats is not None:
            figures = {
                "jobs_queued": stats.queued,
                "jobs_running": stats.running,
                "workers": len(stats.workers),
                "deliveries_waiting": stats.deliveries_waiting,
                "deliveries_dead": stats.deliveries_dead,
                "backlog_seconds": stats.backlog_s,
            } | {f"jobs_{name}_total": count for name, count in stats.totals.items()}
            for what, figure in figures.items():
                self._cluster.labels(what=what).set(figure)
        return generate_latest(self._registry)
