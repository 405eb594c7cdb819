"""What a picture in the making wants from the device, and the programs that want it.

A program is a generator: it yields the asks of its next step, all of them at once, and is sent their answers.
Between two yields it runs on the engine's thread, so what it does there must be short.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

R = TypeVar("R")


class Ask(ABC, Generic[R]):
    """One piece of work for the device; `R` is its answer."""

    work: ClassVar[str] = "other"
    """What operators know it by; each kind of ask has its own, or shares that of what is the same to them."""
    urgent: ClassVar[bool] = False
    """Goes before what is not: short work that lets others join a lane, or frees a slot."""

    rows: int = 1
    """How much of a forward's batch it takes."""
    most_together: int = 1 << 30
    """How many of these asks may share a forward, whatever memory there is."""
    alone_for: object = None
    """Something of its own for an ask that never shares a forward, so that its answer is the same to the last
    bit whatever else runs."""

    @property
    def alone(self) -> bool:
        return self.alone_for is not None

    @property
    @abstractmethod
    def shape(self) -> Hashable:
        """What can be stacked with this, and what the memory for a row depends on."""

    @property
    def state(self) -> Hashable:
        """What the model is switched to for this ask."""
        return None

    @property
    def uses(self) -> tuple[object, ...]:
        """The loaded things that answer it. What is loaded anew under the same name is another one."""
        return ()

    @property
    def lane(self) -> Hashable:
        """Asks of equal lanes can share a forward."""
        return (self.shape, self.state, tuple(map(id, self.uses)), self.alone_for)

    @abstractmethod
    def answer(self, asks: Sequence[Self]) -> Sequence[R | Exception]:
        """The answers to `asks`, which are all of this ask's lane, from one forward. An answer that is an
        exception is raised in the program that asked."""


Steps = Generator[list[Ask[Any]], list[Any], R]
"""A program, or a part of one that is used by `yield from`; `R` is what it returns."""

Note = Callable[[float], None]
"""Takes the share of the work that is done, 0 to 1."""


def one(ask: Ask[R]) -> Steps[R]:
    """The answer to a single ask."""
    answers: list[R] = yield [ask]
    return answers[0]


def together(programs: Sequence[Steps[R]]) -> Steps[list[R]]:
    """Runs `programs` side by side, so that their asks can share forwards; returns what each returned."""
    results: dict[int, R] = {}
    waiting: dict[int, list[Ask[Any]]] = {}

    def go_on(index: int, answers: list[Any] | None) -> None:
        try:
            waiting[index] = next(programs[index]) if answers is None else programs[index].send(answers)
        except StopIteration as end:
            results[index] = end.value
            waiting.pop(index, None)

    for index in range(len(programs)):
        go_on(index, None)
    while waiting:
        asked = {index: len(asks) for index, asks in waiting.items()}
        answers = yield [ask for asks in waiting.values() for ask in asks]
        for index, count in asked.items():
            go_on(index, answers[:count])
            answers = answers[count:]
    return [results[index] for index in range(len(programs))]
