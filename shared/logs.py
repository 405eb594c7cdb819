"""Log lines are events with fields, as JSON on stderr: `logger.info("job finished", extra={"seconds": 7})`.

Whose job a line is about is said once, around the work on it, and not in each line.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

CHATTY = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "urllib3", "botocore", "boto3", "s3transfer"),
    *("kombu", "amqp", "celery.worker.strategy", "celery.app.trace"),
)
"""Libraries whose INFO says nothing about a job; httpx's would also show webhook URLs with their secrets."""

GULLIBLE = ("opentelemetry.trace",)
"""Libraries that repeat in a warning what strangers have written into headers."""

_job: ContextVar[Mapping[str, str | int]] = ContextVar("job", default=MappingProxyType({}))


@contextmanager
def about_job(job_id: int, track_id: str | None = None) -> Iterator[None]:
    """What this thread, or task, logs while the block runs is about this job."""
    before = _job.set({"job_id": job_id} | ({} if track_id is None else {"track_id": track_id}))
    try:
        yield
    finally:
        _job.reset(before)


class Bound(logging.Filter):
    """Adds the job and the trace that are worked on where a line is logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.__dict__.update(_job.get())
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            record.__dict__["trace_id"] = trace.format_trace_id(context.trace_id)
        return True


def configure_logging(process: str) -> None:
    """Send every logger of this process to stderr as JSON with the `process` that wrote it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "message": "event"},
            static_fields={"process": process},
        )
    )
    handler.addFilter(Bound())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)  # else they are lines of another shape
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in GULLIBLE:
        logging.getLogger(name).setLevel(logging.ERROR)
