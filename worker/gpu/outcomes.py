"""Tells the ledger how a job ended, however long Redis is away: only this says that it is done."""

import logging
import time
from collections.abc import Callable

from shared import ledger
from shared.broker import GPU_QUEUE, WEBHOOK_QUEUE, Bell
from shared.errors import LedgerUnavailable
from shared.jobs import JobState, Outcome
from shared.ledger import Claim, Ledger
from shared.ledger.calls import Call, Finished
from worker.gpu.leases import Ending, Hold

logger = logging.getLogger(__name__)

RETRY_S = 1.0


class Outcomes:
    """For slots and the loader; safe to share between threads."""

    def __init__(self, store: Ledger, bell: Bell, drop_inputs: Callable[[str], None]) -> None:
        self._ledger = store
        self._bell = bell
        self._drop_inputs = drop_inputs

    def finish(self, claim: Claim, state: JobState, outcome: Outcome) -> None:
        """Once: an outcome whose lease was lost is refused."""
        finished = self._insist(ledger.finish(claim.job_id, claim.token, state, outcome), claim)
        if finished.bell_wanted:
            self._bell.ring(WEBHOOK_QUEUE)
        if finished.is_mine:
            self._drop_inputs(claim.spec.file_prefix)
        fields = {"job_id": claim.job_id, "state": state, "seconds": round(outcome.generation_time_s, 3)}
        logger.info(
            "job finished" if finished.is_mine else "outcome refused: the lease was lost", extra=fields
        )

    def give_up(self, hold: Hold) -> None:
        """A job whose hold was ended."""
        if hold.ending is Ending.CANCELLED:
            self.finish(hold.claim, JobState.CANCELLED, ledger.CANCELLED)
        elif hold.ending is Ending.DRAINED:
            self.give_back(hold.claim)
        else:
            logger.warning("job lost to another worker", extra={"job_id": hold.claim.job_id})

    def give_back(self, claim: Claim) -> None:
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
