"""What a Celery thread does: claims a job and has it made."""

import logging
import secrets
import threading

from shared import ledger
from shared.broker import GPU_QUEUE, Bell
from shared.errors import LedgerUnavailable
from shared.ledger import Ledger
from shared.settings import Settings
from worker.gpu.attending import Attendant
from worker.gpu.leases import Ending, LeaseKeeper
from worker.gpu.making import Making

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
        attendant: Attendant,
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._ledger = store
        self._making = making
        self._leases = leases
        self._bell = bell
        self._attendant = attendant
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
        self._attendant.attend(claim, self._making.make)
