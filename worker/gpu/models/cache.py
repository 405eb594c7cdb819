"""Keeps loaded things within the memory that they may take: the least recently used goes first.

What a job borrows stays for as long as the job runs. A thing that two jobs want is loaded once, in a slot's
thread, while the engine goes on.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.spans import span

logger = logging.getLogger(__name__)


class Key(NamedTuple):
    """`version` tells apart what has had the same name at different times: the entries that it was loaded
    from."""

    kind: str
    name: str
    version: str = ""


@dataclass(frozen=True)
class Wanted:
    """Something to borrow: how to load it, and how much it is expected to take."""

    key: Key
    load: Callable[[], Any]
    expected_bytes: int
    measure: Callable[[Any], int]


@dataclass
class Entry:
    """One place on the shelf; its bytes are an expectation until it is loaded."""

    bytes: int
    users: int = 0
    loaded: Future[Any] = field(default_factory=Future)


class ShelfObserver:
    """Hears nothing of what comes and goes. It is called from any thread, and under the shelf's lock too, so
    what overrides these must be short."""

    def loaded(self, kind: str, seconds: float) -> None: ...

    def evicted(self, kind: str) -> None: ...


class Shelf:
    """A cache with a budget in bytes; safe to use from all threads."""

    def __init__(self, budget_bytes: int, observer: ShelfObserver | None = None) -> None:
        self.load_s: dict[str, float] = {}
        """How long the last load took, by kind."""
        self._budget = budget_bytes
        self._observer = observer or ShelfObserver()
        self._entries: OrderedDict[Key, Entry] = OrderedDict()  # least recently used first
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def borrow(self, wanted: Sequence[Wanted]) -> Iterator[list[Any]]:
        """All of `wanted`, loaded; waits while others use what would have to go. Raises what loading does."""
        if not wanted:  # and so it waits for nobody
            yield []
            return
        entries, missing = self._reserve(wanted)
        try:
            if not all(map(_is_there, entries)):
                with span("load"):
                    self._fill(entries, missing)
            yield [entry.loaded.result() for entry in entries]
        finally:
            with self._changed:
                for entry in entries:
                    entry.users -= 1
                self._changed.notify_all()

    def names(self, kind: str) -> tuple[str, ...]:
        """What of this kind is loaded."""
        with self._changed:
            return tuple(k.name for k, entry in self._entries.items() if k.kind == kind and _is_there(entry))

    def bytes(self) -> int:
        with self._changed:
            return self._used()

    def has_room(self, wanted: Wanted) -> bool:
        """Whether it could be loaded without another one's having to go."""
        with self._changed:
            return wanted.key in self._entries or self._used() + wanted.expected_bytes <= self._budget

    @property
    def waiting(self) -> int:
        """How many jobs wait for room, or behind one that does."""
        with self._changed:
            return len(self._waiting)

    def evict_unused(self, versions: Collection[str] | None = None) -> bool:
        """Let go of what no job uses, or of these versions of it; tells whether there was anything."""
        with self._changed:
            unused = [
                key
                for key, entry in self._entries.items()
                if entry.users == 0 and (versions is None or any(each in key.version for each in versions))
            ]
            for key in unused:
                self._evict(key)
            return bool(unused)

    def _reserve(self, wanted: Sequence[Wanted]) -> tuple[list[Entry], list[Wanted]]:
        """Places for all of `wanted` at once, so that two jobs never wait for each other's second half; and
        which of them are ours to load."""
        with self._changed:
            ticket = object()
            self._waiting.append(ticket)  # in turn, or small jobs would keep a large one waiting for ever
            self._changed.wait_for(lambda: self._waiting[0] is ticket and self._make_room(wanted))
            self._waiting.popleft()
            self._changed.notify_all()
            missing = [each for each in wanted if each.key not in self._entries]
            for each in wanted:
                self._entries.setdefault(each.key, Entry(each.expected_bytes))
                self._entries.move_to_end(each.key)
                self._entries[each.key].users += 1
            return [self._entries[each.key] for each in wanted], missing

    def _fill(self, entries: Sequence[Entry], missing: Sequence[Wanted]) -> None:
        """Raises what loading does, here or in the other thread that loads it."""
        for each in missing:
            self._load(each)
        for entry in entries:
            entry.loaded.result()

    def _load(self, wanted: Wanted) -> None:
        """Fill its place; a load that failed leaves none, so that the next job tries again."""
        entry, began = self._entries[wanted.key], time.monotonic()
        try:
            loaded = wanted.load()
            taken = wanted.measure(loaded)
            took_s = self.load_s[wanted.key.kind] = time.monotonic() - began
        except Exception as exc:  # noqa: BLE001 - it is passed on, to everybody who waits for this
            with self._changed:
                del self._entries[wanted.key]
            entry.loaded.set_exception(exc)
            return
        with self._changed:
            entry.bytes = taken
            self._changed.notify_all()  # it may be less than was expected
        self._observer.loaded(wanted.key.kind, took_s)
        entry.loaded.set_result(loaded)

    def _make_room(self, wanted: Sequence[Wanted]) -> bool:
        """False if others must finish first. What is larger than the budget may load when it is alone."""
        keys = {each.key for each in wanted}
        missing = sum(each.expected_bytes for each in wanted if each.key not in self._entries)
        if not missing:
            return True
        others = {key: entry for key, entry in self._entries.items() if key not in keys}
        idle = [key for key, entry in others.items() if entry.users == 0]
        busy_bytes = self._used() - sum(self._entries[key].bytes for key in idle)
        if busy_bytes + missing > self._budget and len(idle) < len(others):
            return False
        for key in idle:
            if self._used() + missing > self._budget:
                self._evict(key)
        return True

    def _used(self) -> int:
        return sum(entry.bytes for entry in self._entries.values())

    def _evict(self, key: Key) -> None:
        del self._entries[key]
        self._observer.evicted(key.kind)
        logger.info("evicted", extra={"kind": key.kind, "what": key.name})


def _is_there(entry: Entry) -> bool:
    return entry.loaded.done() and entry.loaded.exception() is None
