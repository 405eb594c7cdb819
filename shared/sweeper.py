"""The sweep, once a second in every gateway and dispatcher: no leader is needed."""

import logging

from shared import ledger
from shared.broker import Bell
from shared.errors import LedgerUnavailable
from shared.ledger import Ledger
from shared.rounds import Rounds
from shared.settings import Settings

logger = logging.getLogger(__name__)


class Sweeper:
    """Takes back expired leases and rings where work waits unheard."""

    def __init__(self, settings: Settings, store: Ledger, bell: Bell) -> None:
        self._settings = settings
        self._ledger = store
        self._bell = bell
        self._rounds = Rounds("sweep", settings.sweep_s, self._sweep)

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close()

    def _sweep(self) -> None:
        try:
            swept = self._ledger.run(ledger.sweep(self._settings))
        except LedgerUnavailable:
            logger.warning("sweep skipped: the ledger is out of reach")
            return
        ended = {"failed": swept.failed, "cancelled": swept.cancelled, "overdue": swept.overdue}
        if swept.requeued or any(ended.values()):
            logger.info("leases or deadlines expired", extra={"requeued": swept.requeued} | ended)
        self._bell.ring(swept.bells)
