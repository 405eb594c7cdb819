"""Keeps one slow receiver from taking all of the dispatcher's threads."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class HostLimit:
    """At most so many deliveries at a time to one host, in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def place(self, host: str) -> Iterator[bool]:
        """Whether there is a place for one more; it is held while the block runs."""
        with self._lock:
            has_place = self._busy[host] < self._most
            if has_place:
                self._busy[host] += 1
        try:
            yield has_place
        finally:
            if has_place:
                self._leave(host)

    def _leave(self, host: str) -> None:
        with self._lock:
            self._busy[host] -= 1
            if not self._busy[host]:
                del self._busy[host]
