"""What a process answers to probes: whether it lives, and whether it would do work."""

import threading
from collections.abc import Callable, Collection
from enum import Enum, auto

STARTING = "It is starting."
ENDING = "It is ending: it begins nothing new."


class Stage(Enum):
    STARTING = auto()
    SERVING = auto()
    ENDING = auto()


def _none() -> None:
    """Nothing stands in the way."""


class Health:
    """Asked from any thread; it waits for nothing."""

    def __init__(self) -> None:
        self._stage = Stage.STARTING
        self._threads: tuple[str, ...] = ()
        self._obstacle: Callable[[], str | None] = _none

    def expect(self, threads: Collection[str], obstacle: Callable[[], str | None] = _none) -> None:
        """From now on threads of these names run, and `obstacle` tells at once, in a sentence, why no work
        would be done."""
        self._threads, self._obstacle = tuple(threads), obstacle

    def begin(self) -> None:
        """Work is taken."""
        if self._stage is Stage.STARTING:
            self._stage = Stage.SERVING

    def end(self) -> None:
        """No more work is taken, and threads may end."""
        self._stage = Stage.ENDING

    @property
    def why_dead(self) -> str | None:
        """A sentence if the process can't go on; else None."""
        if self._stage is Stage.ENDING:
            return None
        running = {thread.name for thread in threading.enumerate()}
        missing = [name for name in self._threads if name not in running]
        return f"These of its threads have ended: {', '.join(missing)}." if missing else None

    @property
    def why_not_ready(self) -> str | None:
        """A sentence if the process would do no work now; else None."""
        match self._stage:
            case Stage.STARTING:
                return STARTING
            case Stage.ENDING:
                return ENDING
        return self.why_dead or self._obstacle()
