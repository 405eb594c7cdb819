"""Work that a process does again and again beside its main task."""

import logging
import random
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Rounds:
    """A thread that acts every `every_s` seconds, give or take a fifth: processes must not all act at once.

    What goes wrong in one round is logged; the next one comes all the same.
    """

    def __init__(self, name: str, every_s: float, act: Callable[[], None]) -> None:
        self._every_s = every_s
        self._act = act
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_ending(self) -> bool:
        """Whether a long round should end early."""
        return self._stop.is_set()

    def close(self) -> None:
        """Does not wait long for a round that is under way."""
        self._stop.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s * random.uniform(0.8, 1.2)):
            try:
                self._act()
            except Exception:
                logger.exception("%s failed", self._thread.name)
