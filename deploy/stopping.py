"""How launchers end: by SIGINT or SIGTERM, or with a sentence if they were told what can't be done."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from shared.errors import Misconfigured

EXIT_MISCONFIGURED = 2
REPEATED_S = 1.0
"""One Ctrl-C may come twice: from the terminal, and from a program in between that passes it on."""


@contextmanager
def explaining(tell: Callable[[str], None]) -> Iterator[None]:
    """End with one sentence and status 2 instead of a traceback."""
    try:
        yield
    except Misconfigured as exc:
        tell(exc.detail)
        sys.exit(EXIT_MISCONFIGURED)


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


class Stopping:
    """What SIGINT and SIGTERM have said to this process since this was made."""

    def __init__(self) -> None:
        self._first: float | None = None
        self.at_once = False
        """A second one has come."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    @property
    def wanted(self) -> bool:
        return self._first is not None

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first > REPEATED_S:
            self.at_once = True
