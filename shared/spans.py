"""Spans of OpenTelemetry, and how a trace's context travels. Where spans go is not said here (tracing.py).

Without a collector they cost next to nothing, and a client's own context is carried on all the same.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.jobs import JobSpec
from shared.logs import about_job
from shared.version import VERSION

Attribute = str | int | float | bool
LONGEST_HEADER = 512
"""Of `traceparent` and of `tracestate`, each; what is longer is no part of the standard."""

_TRACER = trace.get_tracer("printworks", VERSION)
_W3C = TraceContextTextMapPropagator()


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: Mapping[str, str] | None = None,
    attributes: Mapping[str, Attribute] | None = None,
) -> Iterator[Span]:
    """What is done while the block runs. `parent`: headers from elsewhere; None: the span around this one.

    Of an error only its class is told: its words, and its frames, may hold what clients have written.
    """
    context = None if parent is None else _W3C.extract(parent, Context())
    with _TRACER.start_as_current_span(
        name,
        context,
        kind,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as begun:
        try:
            yield begun
        except Exception as exc:
            failed(begun, type(exc).__name__)
            raise


@contextmanager
def job_span(
    name: str, job_id: int, spec: JobSpec, *, kind: SpanKind, attempt: int | None = None
) -> Iterator[Span]:
    """Work on a job that has come through the ledger, in the trace of the request that it was accepted by.
    All lines that are logged meanwhile are about it."""
    attributes = job_attributes(job_id, spec)
    if attempt is not None:
        attributes["printworks.attempt"] = attempt
    with (
        about_job(job_id, spec.tracked_as),
        span(name, kind, parent=spec.trace, attributes=attributes) as begun,
    ):
        yield begun


def job_attributes(job_id: int, spec: JobSpec) -> dict[str, Attribute]:
    """Its ids, and nothing of what it is to make."""
    attributes: dict[str, Attribute] = {
        "printworks.job_id": job_id,
        "printworks.endpoint": spec.kind,
        "printworks.model_id": spec.model_id,
    }
    if spec.tracked_as is not None:
        attributes["printworks.track_id"] = spec.tracked_as
    return attributes


def failed(begun: Span, what: str) -> None:
    """`what`: a class of errors, or a status; never anybody's words."""
    begun.set_attribute("error.type", what)
    begun.set_status(Status(StatusCode.ERROR))


def carried() -> dict[str, str]:
    """The headers that make what another process does a part of the span around this."""
    headers: dict[str, str] = {}
    _W3C.inject(headers)
    return headers
