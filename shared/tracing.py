"""Where a process's spans go: to the collector that OpenTelemetry's own variables name, or nowhere."""

import os
from collections.abc import Callable

from shared.errors import Misconfigured

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def configure_tracing(process: str) -> Callable[[], None]:
    """Export the spans of this process, if a collector is named. What is returned sends those that are left,
    for a moment at most. Raises `Misconfigured`."""
    # the variables are the standard's, and the SDK reads all others of them by itself
    named = [name for name in ENDPOINTS if os.environ.get(name)]  # noqa: TID251
    if not named:
        return _nothing
    try:
        from shared.collector import export_spans
    except ModuleNotFoundError as exc:
        raise Misconfigured(
            f"{named[0]} is set, but the SDK of OpenTelemetry is not installed: "
            "pip install 'printworks[tracing]', or unset it."
        ) from exc
    return export_spans(process)


def _nothing() -> None:
    """There is nothing to send."""
