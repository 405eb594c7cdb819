"""Where a process keeps what it tells Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from shared.version import VERSION


def new_registry(process: str) -> CollectorRegistry:
    """Of one process (`gateway`, `gpu-worker`, `dispatcher`): with what every process tells of itself."""
    disable_created_metrics()  # type: ignore[no-untyped-call] # a series more of each, which nobody needs
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    who = Info("printworks", "Which Printworks this is, and which of its processes", registry=registry)
    who.info({"version": VERSION, "process": process})
    return registry
