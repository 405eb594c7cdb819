"""What a dispatcher tells Prometheus about the webhooks that it sends."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

Outcome = Literal["delivered", "retry", "dead"]

MINUTE, HOUR, DAY = 60, 3600, 86400

ATTEMPT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, MINUTE)
"""To what `webhook_timeout_s` allows."""
LAG_S = (
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    *(MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 4 * DAY),
)
"""To as long as no dispatcher may have run."""


class DeliveryMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "printworks_delivery_attempts",
            "Attempts to deliver a webhook, by what came of them",
            ["outcome"],
            registry=registry,
        )
        for outcome in get_args(Outcome):
            self._attempts.labels(outcome=outcome)
        self._seconds = Histogram(
            "printworks_delivery_seconds", "Time of one attempt", buckets=ATTEMPT_S, registry=registry
        )
        self._lag_seconds = Histogram(
            "printworks_webhook_lag_seconds",
            "From a job's end to the delivery of its webhook by the first attempt; of no replays",
            buckets=LAG_S,
            registry=registry,
        )

    def attempted(self, outcome: Outcome, took_s: float, lag_s: float | None) -> None:
        """`lag_s`: from the job's end to the end of the first attempt; None for another one."""
        self._attempts.labels(outcome=outcome).inc()
        self._seconds.observe(took_s)
        if outcome == "delivered" and lag_s is not None:
            self._lag_seconds.observe(lag_s)
