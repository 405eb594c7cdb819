"""Brings the files that wait on this machine's disk to S3, from a thread of every worker."""

import logging
import random
import threading
from collections.abc import Callable

from shared.storage.ends import Storage
from shared.storage.spool import Spool

logger = logging.getLogger(__name__)


class Uploader:
    """A thread that tries every few seconds; the spool itself knows whom to leave alone for longer."""

    def __init__(self, spool: Spool, open_storage: Callable[[str], Storage], every_s: float = 5.0) -> None:
        self._spool = spool
        self._open_storage = open_storage
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """A file that is just being uploaded is not waited for: it is uploaded again after the next start."""
        self._stop.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        waiting = 0
        while not self._stop.wait(self._every_s * random.uniform(0.8, 1.2)):
            try:
                done = self._spool.upload_all(self._open_storage, self._stop.is_set)
            except Exception:
                logger.exception("waiting files not uploaded")
            else:
                if done.uploaded or done.waiting != waiting:
                    logger.info("files wait for S3", extra=done._asdict())
                waiting = done.waiting
