"""Keeps slow receivers from taking all of the dispatcher's threads."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from shared.ledger import Delivery

MOST_SILENT = 10_000
"""Receivers that are remembered for not answering."""


class Receivers:
    """At most so many deliveries at a time to one receiver, in this process; to one that gave no answer last
    time, one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy: Counter[str] = Counter()
        self._silent: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def claimed(self, claim: Callable[[Collection[str]], Delivery | None]) -> Iterator[Delivery | None]:
        """What `claim` finds, when it is told who has no place left. One is held while the block runs."""
        with self._lock:  # one at a time, so that no place is given twice
            delivery = claim([receiver for receiver in self._busy if not self._has_place(receiver)])
            if delivery is not None:
                self._busy[delivery.receiver] += 1
        try:
            yield delivery
        finally:
            if delivery is not None:
                self._leave(delivery.receiver)

    def heard(self, receiver: str, *, answered: bool) -> None:
        """What came of an attempt."""
        with self._lock:
            if answered:
                self._silent.discard(receiver)
            elif len(self._silent) < MOST_SILENT:
                self._silent.add(receiver)

    def _has_place(self, receiver: str) -> bool:
        return self._busy[receiver] < (1 if receiver in self._silent else self._most)

    def _leave(self, receiver: str) -> None:
        with self._lock:
            self._busy[receiver] -= 1
            if not self._busy[receiver]:
                del self._busy[receiver]
