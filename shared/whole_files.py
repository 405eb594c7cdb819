"""Writes files that are there completely or not at all, whatever kills the process or cuts the power."""

import contextlib
import os
import tempfile
import time
from pathlib import Path

WRITING = ".writing-"
LONGEST_WRITE_S = 3600.0


def write_whole(path: Path, *parts: bytes, mode: int = 0o644, owner: int | None = None) -> None:
    """Replace the file atomically; it is on the disk when this returns. `owner`: the id of a user, if it is
    not this process's. Raises `OSError` and leaves nothing behind if it can't be written."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=WRITING)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), owner, -1)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except BaseException as exc:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(exc, OSError) and exc.filename is None:
            exc.filename = str(path)  # "No space left on device" alone does not say where
        raise


def abandoned_in(folder: Path) -> list[Path]:
    """What killed processes were writing in the folder and those below it."""
    return [path for path in folder.rglob(f"{WRITING}*") if age_s(path) > LONGEST_WRITE_S]


def age_s(path: Path) -> float:
    """Seconds since it was written; 0 if it was deleted just now."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems can't; there the rename is durable
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
