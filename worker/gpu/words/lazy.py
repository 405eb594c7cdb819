"""Something large that is loaded when it is first wanted, once, whichever thread is first."""

from collections.abc import Callable
from typing import Generic, TypeVar

from worker.gpu.exclusive import LOADING

Loaded = TypeVar("Loaded")


class Lazy(Generic[Loaded]):
    """A load that failed is tried again by the next caller."""

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._load = load
        self._loaded: Loaded | None = None

    def get(self) -> Loaded:
        if self._loaded is None:
            with LOADING:
                if self._loaded is None:
                    self._loaded = self._load()
        return self._loaded
