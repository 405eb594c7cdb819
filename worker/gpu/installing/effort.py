"""How far an installation is, and whether it is still wanted: what other threads know and say of it."""

import threading

from shared.errors import Cancelled

FETCHED = 0.9
"""Share of the progress that fetching makes; the rest is checking and converting."""


class Effort:
    """One attempt to install a model."""

    def __init__(self) -> None:
        self._progress = 0.0
        self._is_cancelled = threading.Event()
        self._keeps_files = False

    @property
    def progress(self) -> float:
        """0 to 1."""
        return self._progress

    def report(self, progress: float) -> None:
        """It never goes back."""
        self._progress = min(1.0, max(self._progress, progress))

    def cancel(self, *, keeping_files: bool = False) -> None:
        """The installation raises `Cancelled` soon. `keeping_files`: another attempt will be made, by this
        process or by another, and should find what was fetched so far."""
        self._keeps_files = keeping_files
        self._is_cancelled.set()

    @property
    def keeps_files(self) -> bool:
        return self._keeps_files

    def check(self) -> None:
        """Raises `Cancelled` if the installation is no longer wanted."""
        if self._is_cancelled.is_set():
            raise Cancelled("The loading of the model was cancelled.")
