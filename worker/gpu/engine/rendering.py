"""What a slot hands to the engine and waits for: the pictures or films of one job. Knows nothing of torch."""

import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from shared.errors import Cancelled
from shared.spans import span
from worker.gpu.engine.ask import Note, Steps

Pixels = NDArray[np.uint8]
"""One picture: height x width x 3, RGB, 0 to 255."""


@dataclass(frozen=True)
class Picture:
    """A picture that the device has no more to do for. `is_sensitive` is None where nothing was checked."""

    develop: Callable[[], Pixels]
    """Gives the pixels; may take its time, so it is for a slot's thread."""
    is_sensitive: bool | None = None


T = TypeVar("T", default=Picture)

Program = Callable[[Note], Steps[T]]
"""Makes one picture, or one film; tells the note how far it is."""


class Rendering(Generic[T]):
    """The pictures of one job while they are made, shared by a slot's thread and the engine's."""

    def __init__(self, programs: Sequence[Program[T]]) -> None:
        self.programs = tuple(programs)
        self.stepped_at: float | None = None
        """When the first step of any of its pictures was done, by the monotonic clock."""
        self.context = contextvars.copy_context()
        """Whose it is: what is done for it on the engine's thread is told as its slot would tell it."""
        self._ready: dict[int, T] = {}
        self._progress = [0.0] * len(self.programs)
        self._stop = threading.Event()
        self._done: Future[list[T]] = Future()

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

    def result(self) -> list[T]:
        """Wait for all pictures; raises `Cancelled`, or what went wrong."""
        with span("generate"):
            return self._done.result()

    def note(self, index: int) -> Note:
        """Takes the progress of picture `index`."""

        def take(progress: float) -> None:
            if self.stepped_at is None:
                self.stepped_at = time.monotonic()
            self._progress[index] = progress

        return take

    def deliver(self, index: int, made: T) -> None:
        self._ready[index] = made
        if len(self._ready) == len(self.programs) and not self._done.done():
            self._done.set_result([self._ready[each] for each in range(len(self.programs))])

    def fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    def leave(self) -> None:
        """The engine has dropped it; wakes the slot of a cancelled rendering."""
        self.fail(Cancelled("The job was cancelled."))
