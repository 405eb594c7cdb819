"""What is told of the accepting of jobs, whatever way they come: a span around it, and a line of the log."""

import logging
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from shared.jobs import Job
from shared.logs import about_job
from shared.spans import job_attributes, span

logger = logging.getLogger(__name__)


def accepting() -> AbstractContextManager[Span]:
    """A job that is accepted in this block carries it as its parent (`JobSpec.trace`)."""
    return span("accept", SpanKind.PRODUCER)


def tell_accepted(job: Job) -> None:
    """In that block, of a job that is new."""
    spec = job.spec
    trace.get_current_span().set_attributes(job_attributes(job.id, spec))
    with about_job(job.id, spec.tracked_as):
        fields = {"endpoint": spec.kind, "model_id": spec.model_id, "tenant": job.tenant}
        logger.info("job accepted", extra=fields)
