"""What a slot hands to the engine and waits for: the pictures of one job. Knows nothing of torch."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import Cancelled

Pixels = NDArray[np.uint8]
"""One picture: height x width x 3, RGB, 0 to 255."""


@dataclass(frozen=True)
class PictureRequest:
    """Everything that determines one picture, besides the model."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    scheduler: str
    seed: int


class Rendering:
    """The pictures of one job while they are made, shared by a slot's thread and the engine's."""

    def __init__(self, requests: Sequence[PictureRequest]) -> None:
        self.requests = tuple(requests)
        self._pictures: list[Pixels | None] = [None] * len(self.requests)
        self._progress = [0.0] * len(self.requests)
        self._stop = threading.Event()
        self._done: Future[list[Pixels]] = Future()

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

    def result(self) -> list[Pixels]:
        """Wait for all pictures; raises `Cancelled`, or what went wrong."""
        return self._done.result()

    def note_progress(self, index: int, progress: float) -> None:
        self._progress[index] = progress

    def deliver(self, index: int, picture: Pixels) -> None:
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
