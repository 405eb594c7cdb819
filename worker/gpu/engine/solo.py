"""Runs a call that has a loop of its own, a whole diffusers pipeline say, as a program of the engine.

The call runs on the engine's thread in a greenlet, and wherever it pauses the other lanes get their turns.
"""

import contextvars
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from greenlet import getcurrent, greenlet

from worker.gpu.engine.ask import Ask, Note, Steps

R = TypeVar("R")

Pause = Callable[[float], None]
"""To be called between two steps, with the share of the work that is done, 0 to 1."""
Work = Callable[[Pause], R]


class _Run(Generic[R]):
    """One call in progress; owned by the engine's thread."""

    def __init__(self, work: Work[R], note: Note) -> None:
        self._work = work
        self._context = contextvars.copy_context()
        self._note = note
        self._greenlet: greenlet | None = None
        self._results: list[R] = []

    @property
    def is_over(self) -> bool:
        return bool(self._results)

    @property
    def result(self) -> R:
        return self._results[0]

    def go_on(self) -> None:
        """To the next pause, or to the end. After an error it begins anew: memory may be free by then."""
        if self._greenlet is None:
            self._greenlet = greenlet(self._call)
            self._greenlet.gr_context = self._context
        self._greenlet.parent = getcurrent()
        try:
            self._greenlet.switch()
        except BaseException:
            self._greenlet = None
            raise

    def stop(self) -> None:
        """Unwind the call where it pauses."""
        if self._greenlet is not None and not self._greenlet.dead:
            self._greenlet.parent = getcurrent()
            self._greenlet.throw()

    def _call(self) -> None:
        self._results.append(self._work(self._pause))

    def _pause(self, share: float) -> None:
        self._note(share)
        current: Any = getcurrent()
        current.parent.switch()


@dataclass(frozen=True, eq=False)
class _Turn(Ask[None]):
    """One stretch of the call, up to its next pause."""

    work: ClassVar[str] = "solo"

    run: _Run[Any]

    @property
    def alone_for(self) -> object:  # type: ignore[override]
        return self.run

    @property
    def shape(self) -> Hashable:
        return ("solo",)

    def answer(self, asks: Sequence["_Turn"]) -> list[None]:
        for ask in asks:  # this one: it shares with nobody
            ask.run.go_on()
        return [None]


def solo(work: Work[R], note: Note) -> Steps[R]:
    """`work(pause)` as a program; returns what it returns. A cancelled one ends at its next pause."""
    run = _Run(work, note)
    try:
        while not run.is_over:
            yield [_Turn(run)]
        return run.result
    finally:
        run.stop()
