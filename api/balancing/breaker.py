"""A circuit breaker: who fails is left alone for a while, then tried with one request, then trusted again."""

import random
import time
from collections.abc import Callable

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Breaker:
    """Closed while all is well, open after a failure, half-open when its pause is over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._tries_at = 0.0
        self._is_trying = False

    @property
    def is_closed(self) -> bool:
        return self._failures == 0

    @property
    def lets_through(self) -> bool:
        """Half-open, one request at a time may go."""
        return self.is_closed or (self._clock() >= self._tries_at and not self._is_trying)

    def tried(self) -> None:
        """A request has gone."""
        self._is_trying = True

    def failed(self) -> None:
        """Each time in a row it pauses for longer. Requests that were under way together fail together, which
        is one time."""
        self._is_trying = False
        if self._clock() < self._tries_at:
            return
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._tries_at = self._clock() + pause_s * random.uniform(0.8, 1.2)

    def succeeded(self) -> None:
        self._is_trying = False
        self._failures = 0
        self._tries_at = 0.0
