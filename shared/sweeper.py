"""The sweep, once a second in every gateway and dispatcher: no leader is needed."""

import logging
import random
import threading

from shared import ledger
from shared.broker import GPU_QUEUE, WEBHOOK_QUEUE, Bell
from shared.errors import LedgerUnavailable
from shared.ledger import Ledger
from shared.settings import Settings

logger = logging.getLogger(__name__)


class Sweeper:
    """A thread that takes back expired leases and rings where work waits unheard."""

    def __init__(self, settings: Settings, store: Ledger, bell: Bell) -> None:
        self._settings = settings
        self._ledger = store
        self._bell = bell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while not self._stop.wait(self._settings.sweep_s * random.uniform(0.8, 1.2)):
            try:
                self._sweep()
            except LedgerUnavailable:
                logger.warning("sweep skipped: the ledger is out of reach")
            except Exception:
                logger.exception("sweep failed")

    def _sweep(self) -> None:
        swept = self._ledger.run(ledger.sweep(self._settings))
        if swept.requeued or swept.failed or swept.cancelled:
            fields = {"requeued": swept.requeued, "failed": swept.failed, "cancelled": swept.cancelled}
            logger.info("leases expired", extra=fields)
        if swept.gpu_bell_wanted:
            self._bell.ring(GPU_QUEUE)
        if swept.webhook_bell_wanted:
            self._bell.ring(WEBHOOK_QUEUE)
