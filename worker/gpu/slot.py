"""One job's way through the worker: claim, render, encode, store, finish. Runs in a Celery thread."""

import logging
import secrets
import threading
import time

from shared import ledger
from shared.broker import GPU_QUEUE, WEBHOOK_QUEUE, Bell
from shared.errors import BadPicture, Cancelled, GenerationFailed, LedgerUnavailable
from shared.jobs import JobSpec, JobState, Outcome, Role
from shared.ledger import Claim, Ledger
from shared.pictures import read_mask, read_picture
from shared.settings import Settings
from shared.storage import FolderStorage
from worker.gpu.leases import Ending, Hold, LeaseKeeper
from worker.gpu.studio import Inputs, Studio
from worker.gpu.studio.files import files_of

logger = logging.getLogger(__name__)

FINISH_RETRY_S = 1.0


class Slot:
    """What every Celery thread of this worker runs; it has no state of its own."""

    def __init__(
        self,
        worker: str,
        settings: Settings,
        store: Ledger,
        storage: FolderStorage,
        studio: Studio,
        leases: LeaseKeeper,
        bell: Bell,
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._ledger = store
        self._storage = storage
        self._studio = studio
        self._leases = leases
        self._bell = bell
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
        claim = self._ledger.run(
            ledger.claim(self._worker, token, self._settings, self._studio.library.loaded_ids)
        )
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
            state, outcome = JobState.SUCCEEDED, self._make(hold)
        except Cancelled:
            self._give_up(hold)
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
        self._finish(hold.claim, state, outcome)

    def _make(self, hold: Hold) -> Outcome:
        """Make and store what the job asks for."""
        spec = hold.claim.spec
        made = self._studio.make(spec, self._inputs(spec), hold.attach)
        for name, content in zip(spec.file_names, files_of(spec, made), strict=True):
            self._storage.write(name, content)
        return made.outcome

    def _inputs(self, spec: JobSpec) -> Inputs:
        """As the gateway checked them; raises `InputGone` for one that lay there for too long."""
        readers = {Role.MASK: read_mask}
        return {
            role: readers.get(role, read_picture)(self._storage.read_input(one.name), self._settings)
            for role, one in spec.inputs.items()
        }

    def _give_up(self, hold: Hold) -> None:
        fields = {"job_id": hold.claim.job_id}
        if hold.ending is Ending.CANCELLED:
            self._finish(hold.claim, JobState.CANCELLED, ledger.CANCELLED)
        elif hold.ending is Ending.DRAINED:
            released = self._ledger.run(ledger.release(hold.claim.job_id, hold.claim.token))
            if released.bell_wanted:
                self._bell.ring(GPU_QUEUE)
            logger.info("job given back", extra=fields)
        else:
            logger.warning("job lost to another worker", extra=fields)

    def _finish(self, claim: Claim, state: JobState, outcome: Outcome) -> None:
        """Write the outcome, however long Redis is away: the pictures are made, and only this says so."""
        while True:
            try:
                finished = self._ledger.run(ledger.finish(claim.job_id, claim.token, state, outcome))
                break
            except LedgerUnavailable:
                logger.warning("outcome not written yet", extra={"job_id": claim.job_id})
                time.sleep(FINISH_RETRY_S)
        if finished.bell_wanted:
            self._bell.ring(WEBHOOK_QUEUE)
        if finished.is_mine:
            self._storage.drop_inputs(claim.spec.file_prefix)
        fields = {"job_id": claim.job_id, "state": state, "seconds": round(outcome.generation_time_s, 3)}
        logger.info(
            "job finished" if finished.is_mine else "outcome refused: the lease was lost", extra=fields
        )
