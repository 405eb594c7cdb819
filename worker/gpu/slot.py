"""What a Celery thread does: claims a job and has it made."""

import logging
import secrets
import threading

from shared import ledger
from shared.broker import Bell, gpu_queue
from shared.errors import LedgerUnavailable, MakesWay
from shared.ledger import Claim, Ledger
from shared.settings import Settings
from worker.gpu.attending import Attendant
from worker.gpu.leases import Ending, LeaseKeeper
from worker.gpu.making import Making

logger = logging.getLogger(__name__)

MAKE_WAY_S = 0.5


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
            self._attendant.attend(self._claim, self._making.make)
        except MakesWay:  # the bell is for another worker, and this slot must not hear it again at once
            self._draining.wait(MAKE_WAY_S)
            self._bell.ring([gpu_queue(self._settings.pool)])
        except LedgerUnavailable:
            logger.warning("bell not followed: the ledger is out of reach")

    def _claim(self, is_idle: bool) -> Claim | None:
        token, loaded = secrets.token_hex(16), self._making.loaded_ids
        return self._ledger.run(ledger.claim(self._worker, token, self._settings, loaded, is_idle=is_idle))
