"""Brings the files that wait on this machine's disk to S3, beside the work of every worker."""

import logging
from collections.abc import Callable

from shared.rounds import Rounds
from shared.storage.ends import Storage
from shared.storage.spool import Spool

logger = logging.getLogger(__name__)


class Uploader:
    """Tries every few seconds; the spool itself knows whom to leave alone for longer."""

    def __init__(self, spool: Spool, open_storage: Callable[[str], Storage], every_s: float = 5.0) -> None:
        self._spool = spool
        self._open_storage = open_storage
        self._waiting = 0
        self._rounds = Rounds("upload", every_s, self._upload)

    @property
    def waiting(self) -> int:
        """How many files waited when it last looked: some seconds ago, at most."""
        return self._waiting

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        """A file that is just being uploaded is not waited for: it is uploaded again after the next start."""
        self._rounds.close()

    def _upload(self) -> None:
        done = self._spool.upload_all(self._open_storage, self._rounds.is_ending)
        if done.uploaded or done.waiting != self._waiting:
            logger.info("files wait for S3", extra=done._asdict())
        self._waiting = done.waiting
