"""A lane: the asks that may share one forward, in the order in which they came."""

from collections import Counter, deque
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
        """The next forward's asks, at least one: those that waited longest, but of every sequence its first
        before any one's second, so that a picture that asks for hundreds at once delays nobody."""
        most_asks = 1 if self.first.alone else min(most_asks, self.first.most_together)
        batch: list[Entry] = []
        rows = 0
        for entry in self._in_turn():
            if batch and (len(batch) == most_asks or rows + entry.ask.rows > most_rows):
                break
            batch.append(entry)
            rows += entry.ask.rows
        taken = set(map(id, batch))
        self._waiting = deque(entry for entry in self._waiting if id(entry) not in taken)
        return batch

    def _in_turn(self) -> list[Entry]:
        seen: Counter[int] = Counter()

        def turn(entry: Entry) -> int:
            seen[id(entry.sequence)] += 1
            return seen[id(entry.sequence)]

        return sorted(self._waiting, key=turn)
