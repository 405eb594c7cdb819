"""What a slot hands to the engine and waits for: the pictures of one job. Knows nothing of torch."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import Cancelled
from worker.gpu.engine.ask import Note, Steps

Pixels = NDArray[np.uint8]
"""One picture: height x width x 3, RGB, 0 to 255."""


@dataclass(frozen=True)
class Picture:
    """A picture that the device has no more to do for. `is_sensitive` is None where nothing was checked."""

    develop: Callable[[], Pixels]
    """Gives the pixels; may take its time, so it is for a slot's thread."""
    is_sensitive: bool | None = None


Program = Callable[[Note], Steps[Picture]]
"""Makes one picture; tells the note how far it is."""


class Rendering:
    """The pictures of one job while they are made, shared by a slot's thread and the engine's."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = tuple(programs)
        self._pictures: list[Picture | None] = [None] * len(self.programs)
        self._progress = [0.0] * len(self.programs)
        self._stop = threading.Event()
        self._done: Future[list[Picture]] = Future()

    @property
    def progress(self) -> float:
        """Denoising steps done, 0 to 1, over all pictures."""
        return sum(self._progress) / len(self._progress)

    @property
    def is_over(self) -> bool:
        """Nobody waits for it any more: its sequences leave at the next step."""
        return self._stop.is_set() or self._done.done()

    def cancel(self) -> None:
        self._stop.set()

    def result(self) -> list[Picture]:
        """Wait for all pictures; raises `Cancelled`, or what went wrong."""
        return self._done.result()

    def note(self, index: int) -> Note:
        """Takes the progress of picture `index`."""

        def take(progress: float) -> None:
            self._progress[index] = progress

        return take

    def deliver(self, index: int, picture: Picture) -> None:
        self._pictures[index] = picture
        ready = [picture for picture in self._pictures if picture is not None]
        if len(ready) == len(self._pictures) and not self._done.done():
            self._done.set_result(ready)

    def fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    def leave(self) -> None:
        """The engine has dropped it; wakes the slot of a cancelled rendering."""
        self.fail(Cancelled("The job was cancelled."))
