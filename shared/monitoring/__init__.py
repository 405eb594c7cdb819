"""What processes tell Prometheus and probes: the registry that each has, and the HTTP endpoint of those
that are no web server."""

from shared.monitoring.endpoint import listen
from shared.monitoring.health import Health
from shared.monitoring.monitored import Monitored
from shared.monitoring.registry import new_registry

__all__ = ["Health", "Monitored", "listen", "new_registry"]
