"""One process as it is monitored: what it counts, how it is, and where it answers."""

from shared.monitoring.endpoint import listen
from shared.monitoring.health import Health
from shared.monitoring.registry import new_registry
from shared.settings import Settings


class Monitored:
    """Made at the start of a process, before it has anything to tell."""

    def __init__(self, process: str) -> None:
        self.registry = new_registry(process)
        self.health = Health()

    def open(self, settings: Settings) -> None:
        """Answer from now on, if the process is to answer anywhere. Raises `Misconfigured`."""
        if settings.metrics_port:
            listen(settings.metrics_host, settings.metrics_port, self.registry, self.health)
