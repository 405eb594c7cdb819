"""Has a claimed job made, keeps its lease meanwhile, and tells the ledger how it ended, however long Redis is
away: only that says that it is done. Slots and the loader work through it.
"""

import logging
import time
from collections.abc import Callable

from shared import ledger
from shared.broker import GPU_QUEUE, WEBHOOK_QUEUE, Bell
from shared.errors import BadPicture, Cancelled, GenerationFailed, LedgerUnavailable
from shared.jobs import JobState, Outcome
from shared.ledger import Claim, Ledger
from shared.ledger.calls import Call, Finished
from worker.gpu.leases import Ending, Hold, LeaseKeeper
from worker.gpu.metrics import JobMetrics

logger = logging.getLogger(__name__)

RETRY_S = 1.0


class Attendant:
    """Safe to share between threads."""

    def __init__(
        self,
        store: Ledger,
        bell: Bell,
        leases: LeaseKeeper,
        drop_inputs: Callable[[str], None],
        metrics: JobMetrics,
    ) -> None:
        self._ledger = store
        self._bell = bell
        self._leases = leases
        self._drop_inputs = drop_inputs
        self._metrics = metrics

    def attend(self, claim: Callable[[bool], Claim | None], make: Callable[[Hold], Outcome]) -> bool:
        """Claim a job by `claim`, which is told whether this worker is idle, and block until it has ended
        here: made, failed, cancelled or given back. False if there was none. Raises `LedgerUnavailable` and
        `MakesWay` when none could be claimed."""
        hold = self._leases.take(claim)
        if hold is None:
            return False
        try:
            if hold.claim.bell_wanted:  # more work waits than this one job
                self._bell.ring(GPU_QUEUE)
            with self._metrics.attended(hold.claim):
                self._see_through(hold, make)
        finally:
            self._leases.remove(hold)
        return True

    def _see_through(self, hold: Hold, make: Callable[[Hold], Outcome]) -> None:
        claim = hold.claim
        fields = {"job_id": claim.job_id, "attempts": claim.attempts}
        logger.info("job started", extra=fields | {"kind": claim.spec.kind, "model_id": claim.spec.model_id})
        try:
            state, outcome = JobState.SUCCEEDED, make(hold)
        except Cancelled:
            self._give_up(hold)
            return
        except LedgerUnavailable:
            self._give_back(claim)
            return
        except (GenerationFailed, BadPicture) as exc:
            state, outcome = JobState.FAILED, Outcome(reason=exc.detail)
        except Exception:
            logger.exception("job failed", extra=fields)
            state, outcome = JobState.FAILED, Outcome(reason="Failed, Try Again")
        self._finish(claim, state, outcome)

    def _finish(self, claim: Claim, state: JobState, outcome: Outcome) -> None:
        """Once: an outcome whose lease was lost is refused."""
        finished = self._insist(ledger.finish(claim.job_id, claim.token, state, outcome), claim)
        if finished.bell_wanted:
            self._bell.ring(WEBHOOK_QUEUE)
        if finished.is_mine:
            self._metrics.finished(claim, state, outcome)
            self._drop_inputs(claim.spec.file_prefix)
        fields = {"job_id": claim.job_id, "state": state, "seconds": round(outcome.generation_time_s, 3)}
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
            logger.warning("job lost to another worker", extra={"job_id": hold.claim.job_id})

    def _give_back(self, claim: Claim) -> None:
        """Unfinished, with its attempt not counted."""
        released = self._insist(ledger.release(claim.job_id, claim.token), claim)
        if released.bell_wanted:
            self._bell.ring(GPU_QUEUE)
        logger.info("job given back", extra={"job_id": claim.job_id})

    def _insist(self, call: Call[Finished], claim: Claim) -> Finished:
        while True:
            try:
                return self._ledger.run(call)
            except LedgerUnavailable:
                logger.warning("outcome not written yet", extra={"job_id": claim.job_id})
                time.sleep(RETRY_S)
