"""A lane: the asks that may share one forward, in the order in which they came."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from worker.gpu.engine.ask import Ask
from worker.gpu.engine.sequence import Sequence


@dataclass(frozen=True)
class Entry:
    """An ask that waits; `position` is its place among those of its sequence's step."""

    ask: Ask[Any]
    sequence: Sequence
    position: int


class Lane:
    """Asks of one lane, and when they last had a turn."""

    def __init__(self, turn: int) -> None:
        """`turn`: the engine's, now; a new lane queues behind those that wait already."""
        self.last_turn = turn
        self._waiting: deque[Entry] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def first(self) -> Ask[Any]:
        return self._waiting[0].ask

    def add(self, entry: Entry) -> None:
        self._waiting.append(entry)

    def drop_ended(self) -> list[Entry]:
        """Takes out what nobody waits for any more."""
        ended = [entry for entry in self._waiting if entry.sequence.rendering.is_over]
        if ended:
            self._waiting = deque(e for e in self._waiting if not e.sequence.rendering.is_over)
        return ended

    def take(self, most_asks: int, most_rows: int) -> list[Entry]:
        """The next forward's asks: those that waited longest, at least one."""
        batch = [self._waiting.popleft()]
        if batch[0].ask.alone:
            return batch
        rows = batch[0].ask.rows
        while self._waiting and len(batch) < most_asks and rows + self.first.rows <= most_rows:
            rows += self.first.rows
            batch.append(self._waiting.popleft())
        return batch
