"""Where one entry's files are made ready, out of sight, before they appear in their place all at once.

`.installing-<entry>` in the models folder holds what was fetched so far, and outlives the process.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from worker.gpu.installing.effort import Effort

UNFINISHED = ".installing-"
LOOK_S = 0.2
"""How often it is looked whether another attempt at the same entry has ended."""


class Workplace:
    """Of one attempt to install an entry."""

    def __init__(self, models_folder: Path, entry_id: str) -> None:
        self.folder = models_folder / f"{UNFINISHED}{entry_id}"
        self._place = models_folder / entry_id

    @property
    def fetched(self) -> Path:
        """What came, as it came."""
        return self.folder / "fetched"

    @property
    def kept(self) -> Path:
        """What will be the entry's folder."""
        return self.folder / "kept"

    @contextlib.contextmanager
    def held(self, effort: Effort) -> Iterator[None]:
        """By one attempt at a time: one that has lost its lease may not have noticed yet.

        What was fetched is left only where the attempt was cancelled to be made again, or the process dies.
        """
        descriptor = self._lock(effort)
        is_over = True
        try:
            shutil.rmtree(self.kept, ignore_errors=True)
            self.kept.mkdir()
            yield
        except BaseException:
            is_over = not effort.keeps_files
            raise
        finally:
            if is_over:
                self._clear()
            os.close(descriptor)
            with contextlib.suppress(OSError):  # it is not empty: there will be, or is, another attempt
                self.folder.rmdir()

    @contextlib.contextmanager
    def idle(self) -> Iterator[bool]:
        """Whether no attempt is being made, nor begins while the block runs; what others left is deleted."""
        if not self.folder.parent.is_dir():
            yield True
            return
        descriptor = self._try_lock()
        if descriptor is None:
            yield False
            return
        try:
            yield True
        finally:
            self._clear()
            os.close(descriptor)
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def publish(self) -> None:
        """The entry's files appear in their place, on disk to stay."""
        for folder, _, files in os.walk(self.kept):
            for name in (*files, "."):
                _sync(Path(folder, name))
        self.kept.replace(self._place)
        _sync(self._place.parent)

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    @property
    def _lock_file(self) -> Path:
        return self.folder / "lock"

    def _lock(self, effort: Effort) -> int:
        while (descriptor := self._try_lock()) is None:
            effort.check()
            time.sleep(LOOK_S)
        return descriptor

    def _try_lock(self) -> int | None:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the one before has just deleted the folder
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), self._lock_file.stat()):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
