"""A collector of OpenTelemetry for tests: a real HTTP server that reads OTLP as it is written."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as OtlpStatus

from tests.support.serving import Handler, serving
from tests.support.waiting import wait_until

AT_ONCE = "50"
"""Milliseconds that spans wait for others to be sent with."""


@dataclass(frozen=True)
class Seen:
    """One span."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty: it has none."""
    attributes: dict[str, object]
    is_failed: bool
    message: str
    """Beside its being failed."""
    state: str
    """The `tracestate`."""


@dataclass
class Collector:
    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    refusals: int = 0
    """Exports that it will refuse before it takes any."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def variables(self) -> dict[str, str]:
        """What makes a process export to it."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": AT_ONCE}

    def take(self, body: bytes) -> HTTPStatus:
        if self.refusals:
            self.refusals -= 1
            return HTTPStatus.UNAUTHORIZED
        told = ExportTraceServiceRequest.FromString(body)
        found = []
        for resource in told.resource_spans:
            service = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                found += [_seen(service["service.name"], span) for span in scope.spans]
        with self._lock:
            self.spans += found
            self.bodies.append(body)
        return HTTPStatus.OK

    def of(self, trace_id: str) -> list[Seen]:
        with self._lock:
            return [span for span in self.spans if span.trace_id == trace_id]

    def when_all(self, trace_id: str, names: set[str], within_s: float = 15) -> dict[str, Seen]:
        """The spans of this trace by their names, once there are all that are named."""

        def there() -> dict[str, Seen] | None:
            found = {span.name: span for span in self.of(trace_id)}
            return found if found.keys() >= names else None

        try:
            return wait_until(there, within_s)
        except TimeoutError:
            raise TimeoutError(f"there is no more than {self.of(trace_id)}") from None


@contextlib.contextmanager
def running_collector(port: int = 0, refusals: int = 0) -> Iterator[Collector]:
    collector = Collector(refusals=refusals)

    class Taking(Handler):
        def do_POST(self) -> None:  # noqa: N802 - the library's name
            assert self.path == "/v1/traces"
            self.send_response(collector.take(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Taking, port) as url:
        collector.url = url
        yield collector


def _seen(service: str, span: Span) -> Seen:
    return Seen(
        service=service,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes={each.key: _value(each.value) for each in span.attributes},
        is_failed=span.status.code == OtlpStatus.STATUS_CODE_ERROR,
        message=span.status.message,
        state=span.trace_state,
    )


def _value(value: AnyValue) -> object:
    return getattr(value, str(value.WhichOneof("value")))
