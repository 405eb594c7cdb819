"""Looks at finished pictures with the safety checker, many in one forward."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from worker.gpu.engine import Ask, Pixels
from worker.gpu.finishing.safety import SafetyChecker


@dataclass(frozen=True, eq=False)
class Check(Ask[bool]):
    """Whether the picture is sensitive."""

    work: ClassVar[str] = "check"
    urgent: ClassVar[bool] = True

    checker: SafetyChecker
    picture: Pixels
    alone_for: object = None

    @property
    def shape(self) -> Hashable:
        return "check"

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.checker,)

    def answer(self, asks: Sequence["Check"]) -> list[bool]:
        return self.checker.check([ask.picture for ask in asks])
