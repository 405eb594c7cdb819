"""Has a claimed job made, keeps its lease meanwhile, and tells the ledger how it ended, however long Redis is
away: only that says that it is done. Slots and the loader work through it.
"""

import logging
import time
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from shared import ledger
from shared.broker import Bell
from shared.errors import BadPicture, Cancelled, GenerationFailed, LedgerUnavailable, OfAnotherVersion
from shared.jobs import JobState, Outcome
from shared.ledger import Claim, Ledger
from shared.ledger.calls import Call, Finished
from shared.logs import about_job
from shared.spans import failed, job_span
from shared.version import VERSION
from worker.gpu.leases import Ending, Hold, LeaseKeeper
from worker.gpu.metrics import JobMetrics
from worker.task_events import End, TaskEvents

logger = logging.getLogger(__name__)

RETRY_S = 1.0
ENDS = {
    JobState.SUCCEEDED: End.SUCCEEDED,
    JobState.FAILED: End.FAILED,
    JobState.CANCELLED: End.REVOKED,
}


class Attendant:
    """Safe to share between threads."""

    def __init__(
        self,
        store: Ledger,
        bell: Bell,
        leases: LeaseKeeper,
        drop_inputs: Callable[[str], None],
        metrics: JobMetrics,
        events: TaskEvents,
    ) -> None:
        self._ledger = store
        self._bell = bell
        self._leases = leases
        self._drop_inputs = drop_inputs
        self._events = events
        self._metrics = metrics

    def attend(self, claim: Callable[[bool], Claim | None], make: Callable[[Hold], Outcome]) -> bool:
        """Claim a job by `claim`, which is told whether this worker is idle, and block until it has ended
        here: made, failed, cancelled or given back. False if there was none. Raises `LedgerUnavailable` and
        `MakesWay` when none could be claimed."""
        hold = self._taken(claim)
        if hold is None:
            return False
        try:
            job = hold.claim
            self._bell.ring(job.bells)  # more work waits than this one job
            with (
                job_span("job", job.job_id, job.spec, kind=SpanKind.CONSUMER, attempt=job.attempts) as span,
                self._metrics.attended(job),
            ):
                if job.waited_s:
                    span.set_attribute("printworks.queue_s", job.waited_s)
                self._see_through(hold, make)
        finally:
            self._leases.remove(hold)
        return True

    def _taken(self, claim: Callable[[bool], Claim | None]) -> Hold | None:
        while True:
            try:
                return self._leases.take(claim)
            except ledger.UnreadableClaim as exc:
                with about_job(exc.job_id):
                    self._leave_to_others(exc.job_id, exc.token)

    def _leave_to_others(self, job_id: int, token: str) -> None:
        """Workers of another version are to make it: this one gets it no more. No attempt is counted."""
        released = self._insist(ledger.release(job_id, token, unreadable_by=VERSION))
        self._bell.ring(released.bells)
        logger.warning("job of another version left to its workers")

    def _see_through(self, hold: Hold, make: Callable[[Hold], Outcome]) -> None:
        claim = hold.claim
        fields = {"attempts": claim.attempts, "endpoint": claim.spec.kind, "model_id": claim.spec.model_id}
        logger.info("job started", extra=fields)
        job = {"job": claim.job_id, "kind": str(claim.spec.kind), "model": claim.spec.model_id}
        self._events.started(_task_id(claim), **job, attempt=claim.attempts)
        try:
            state, outcome = JobState.SUCCEEDED, make(hold)
        except Cancelled:
            self._give_up(hold)
            return
        except OfAnotherVersion:
            self._leave_to_others(claim.job_id, claim.token)
            self._events.taken_away(_task_id(claim))
            return
        except LedgerUnavailable:
            self._give_back(claim)
            return
        except (GenerationFailed, BadPicture) as exc:
            state, outcome = JobState.FAILED, Outcome(reason=exc.detail)
        except Exception:
            logger.exception("job failed")
            state, outcome = JobState.FAILED, Outcome(reason="Failed, Try Again")
        self._finish(claim, state, outcome)

    def _finish(self, claim: Claim, state: JobState, outcome: Outcome) -> None:
        """Once: an outcome whose lease was lost is refused."""
        finished = self._insist(ledger.finish(claim.job_id, claim.token, state, outcome))
        self._bell.ring(finished.bells)
        if finished.is_mine:
            self._metrics.finished(claim, state, outcome)
            self._drop_inputs(claim.spec.file_prefix)
            self._events.ended(_task_id(claim), ENDS[state], state)
        else:
            self._events.taken_away(_task_id(claim))
        _note(state if finished.is_mine else "lost")
        fields = {"state": state, "seconds": round(outcome.generation_time_s, 3)}
        logger.info(
            "job finished" if finished.is_mine else "outcome refused: the lease was lost", extra=fields
        )

    def _give_up(self, hold: Hold) -> None:
        """A job whose hold was ended."""
        if hold.ending is Ending.CANCELLED:
            self._finish(hold.claim, JobState.CANCELLED, ledger.CANCELLED)
        elif hold.ending is Ending.DRAINED:
            self._give_back(hold.claim)
        else:
            _note("lost")
            logger.warning("job lost to another worker")
            self._events.taken_away(_task_id(hold.claim))

    def _give_back(self, claim: Claim) -> None:
        """Unfinished, with its attempt not counted."""
        released = self._insist(ledger.release(claim.job_id, claim.token))
        self._bell.ring(released.bells)
        _note("given_back")
        logger.info("job given back")
        self._events.ended(_task_id(claim), End.RETRIED, "given back")

    def _insist(self, call: Call[Finished]) -> Finished:
        while True:
            try:
                return self._ledger.run(call)
            except LedgerUnavailable:
                logger.warning("outcome not written yet")
                time.sleep(RETRY_S)


def _task_id(claim: Claim) -> str:
    return f"job-{claim.job_id}"


def _note(end: str) -> None:
    """How the attempt has ended, in its span."""
    attempt = trace.get_current_span()
    attempt.set_attribute("printworks.end", end)
    if end == JobState.FAILED:
        failed(attempt, end)
