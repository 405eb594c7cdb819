"""One picture in the making: a program, what it has asked, and what has been answered so far."""

from typing import Any

from worker.gpu.engine.ask import Ask
from worker.gpu.engine.rendering import Rendering


class Sequence:
    """Owned by the engine's thread."""

    def __init__(self, rendering: Rendering[Any], index: int) -> None:
        self.rendering = rendering
        self.index = index
        self._program = rendering.programs[index](rendering.note(index))
        self._answers: list[Any] = []
        self._missing = 0

    def start(self) -> list[Ask[Any]]:
        """The first asks; [] when the picture is delivered already."""
        return self._go_on(None)

    def take(self, position: int, answer: object) -> list[Ask[Any]]:
        """Note the answer to the ask at `position`; the next asks once all are answered.

        An answer that is an exception is raised inside the program. Raises what the program raises.
        """
        self._answers[position] = answer
        self._missing -= 1
        return self._go_on(self._answers) if self._missing == 0 else []

    def close(self) -> None:
        self._program.close()

    def _go_on(self, answers: list[Any] | None) -> list[Ask[Any]]:
        try:
            asks = self._send(answers)
        except StopIteration as end:
            self.rendering.deliver(self.index, end.value)
            return []
        self._answers = [None] * len(asks)
        self._missing = len(asks)
        return asks

    def _send(self, answers: list[Any] | None) -> list[Ask[Any]]:
        if answers is None:
            return next(self._program)
        error = next((answer for answer in answers if isinstance(answer, Exception)), None)
        return self._program.throw(error) if error else self._program.send(answers)
