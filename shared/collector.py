"""Exports spans by OTLP over HTTP, in batches, beside the work. Needs the extra `tracing`.

No job waits for it: what a collector that is away does not take is dropped, and the log says so once.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from shared.version import VERSION

logger = logging.getLogger(__name__)

TALKATIVE = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")
"""They say for every batch what is said here once."""
LAST_BATCH_S = 2.0
"""How long the end of a process may be put off."""


def export_spans(process: str) -> Callable[[], None]:
    """From now on, all of this process's. What is returned sends those that are left."""
    named = Resource.create({SERVICE_NAME: f"printworks-{process}", SERVICE_VERSION: VERSION})
    resource = named.merge(OTELResourceDetector().detect())  # the operator's words go before ours
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Exporter(OTLPSpanExporter())))
    trace.set_tracer_provider(provider)

    def end() -> None:
        # the SDK itself would wait for half a minute for a collector that is away
        ending = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(LAST_BATCH_S)

    return end


class _Exporter(SpanExporter):
    """Tells once that the collector takes nothing, and once that it does again."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0
        self._words = _FirstWords()
        for name in TALKATIVE:
            library = logging.getLogger(name)
            library.propagate = False
            library.addHandler(self._words if name == TALKATIVE[0] else logging.NullHandler())

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._words.forget()
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                logger.warning("spans not exported", extra={"reason": self._words.said})
            self._lost += len(spans)
        elif self._lost:
            logger.warning("spans exported again", extra={"lost": self._lost})
            self._lost = 0
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _FirstWords(logging.Handler):
    """Why an export failed, as the library says it; of an error only the class, because the whole of it holds
    the collector's URL, and that may hold a token."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def forget(self) -> None:
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        if not self.said:
            arguments = record.args if isinstance(record.args, tuple) else ()
            shown = [type(each).__name__ if isinstance(each, Exception) else each for each in arguments]
            self.said = str(record.msg) % tuple(shown)
