"""One job's way through the worker: claim, render, encode, store, finish. Runs in a Celery thread."""

import logging
import secrets
import threading

from shared import ledger
from shared.broker import GPU_QUEUE, Bell
from shared.errors import BadPicture, Cancelled, GenerationFailed, LedgerUnavailable
from shared.jobs import JobState, Outcome
from shared.ledger import Ledger
from shared.settings import Settings
from worker.gpu.leases import Ending, Hold, LeaseKeeper
from worker.gpu.making import Making
from worker.gpu.outcomes import Outcomes

logger = logging.getLogger(__name__)


class Slot:
    """What every Celery thread of this worker runs; it has no state of its own."""

    def __init__(
        self,
        worker: str,
        settings: Settings,
        store: Ledger,
        *,
        making: Making,
        leases: LeaseKeeper,
        bell: Bell,
        outcomes: Outcomes,
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._ledger = store
        self._making = making
        self._leases = leases
        self._bell = bell
        self._outcomes = outcomes
        self._draining = threading.Event()

    def drain(self) -> None:
        """Claim nothing more; jobs in flight get `drain_s`, then they are given back at the next step."""
        self._draining.set()
        timer = threading.Timer(self._settings.drain_s, self._leases.end_all, [Ending.DRAINED])
        timer.daemon = True
        timer.start()

    def run(self) -> None:
        """Do one job, if one waits. Without a ledger nothing is done: the sweep rings again."""
        if self._draining.is_set():
            return
        try:
            self._claim_and_work()
        except LedgerUnavailable:
            logger.warning("bell not followed: the ledger is out of reach")

    def _claim_and_work(self) -> None:
        """Another bell is rung first if more work waits than this one job."""
        token = secrets.token_hex(16)
        claim = self._ledger.run(ledger.claim(self._worker, token, self._settings, self._making.loaded_ids))
        if claim is None:
            return
        if claim.bell_wanted:
            self._bell.ring(GPU_QUEUE)
        hold = Hold(claim)
        self._leases.add(hold)
        try:
            self._work(hold)
        finally:
            self._leases.remove(hold)

    def _work(self, hold: Hold) -> None:
        fields = {"job_id": hold.claim.job_id, "attempts": hold.claim.attempts}
        logger.info("job started", extra=fields | {"model_id": hold.claim.spec.model_id})
        try:
            state, outcome = JobState.SUCCEEDED, self._making.make(hold)
        except Cancelled:
            self._outcomes.give_up(hold)
            return
        except LedgerUnavailable:
            self._outcomes.give_back(hold.claim)
            return
        except (GenerationFailed, BadPicture) as exc:
            state, outcome = JobState.FAILED, Outcome(reason=exc.detail)
        except OSError:
            logger.exception("pictures not stored", extra=fields)
            state, outcome = (
                JobState.FAILED,
                Outcome(reason="The pictures could not be stored on the server."),
            )
        except Exception:
            logger.exception("job failed", extra=fields)
            state, outcome = JobState.FAILED, Outcome(reason="Failed, Try Again")
        self._outcomes.finish(hold.claim, state, outcome)
