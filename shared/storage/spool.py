"""Finished files that wait on this machine's disk because S3 was away when they were made.

Each is one file, a line of JSON that says where it is to go and then its content: a process that is killed at
any moment leaves it whole or not at all.
"""

import contextlib
import fcntl
import hashlib
import logging
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import Misconfigured
from shared.storage.ends import Storage
from shared.storage.s3 import StorageAway
from shared.whole_files import abandoned_in, write_whole

logger = logging.getLogger(__name__)

WAITING = ".waiting"
BROKEN = ".broken"
SHORTEST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0


class Round(NamedTuple):
    """What became of the files that waited."""

    uploaded: int
    waiting: int


class _Unreadable(ValueError):
    """A waiting file that is not what was written."""


class _Heading(BaseModel):
    """The first line of a waiting file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    target: str
    content_bytes: int


class Spool:
    """A folder of waiting files, shared by all workers of a machine; safe to share between threads."""

    def __init__(self, folder: Path, shortest_pause_s: float = SHORTEST_PAUSE_S) -> None:
        """A target that was away is left alone for about `shortest_pause_s`, and longer each time."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._pauses = _Pauses(shortest_pause_s)
        self._failures: Counter[str] = Counter()

    def keep(self, name: str, content: bytes, sealed_target: str) -> None:
        """The file is on the disk when this returns. Raises `OSError` if it can't be written."""
        heading = _Heading(name=name, target=sealed_target, content_bytes=len(content)).model_dump_json()
        # the time first, so that names sort by age; the target's digest, so that a pause needs no look inside
        own_name = f"{time.time_ns():020}-{uuid.uuid4().hex}-{_digest(sealed_target)}{WAITING}"
        write_whole(self.folder / own_name, heading.encode(), b"\n", content)

    def waiting(self) -> int:
        return len(self._files())

    def upload_all(
        self, open_storage: Callable[[str], Storage], stopped: Callable[[], bool] = lambda: False
    ) -> Round:
        """Try each file once, but none of a target that was away just now. The oldest come first, and those
        that failed before last: they may be what S3 refuses. What another process is uploading is left to it.
        """
        for path in abandoned_in(self.folder):
            path.unlink(missing_ok=True)
        uploaded = 0
        for path in sorted(self._files(), key=lambda path: (self._failures[path.name], path.name)):
            if stopped():
                break
            if not self._pauses.is_on(_target_digest(path)):
                uploaded += self._upload(path, open_storage)
        left = {path.name for path in self._files()}
        self._failures = Counter({name: count for name, count in self._failures.items() if name in left})
        return Round(uploaded, len(left))

    def _files(self) -> list[Path]:
        return list(self.folder.glob(f"*{WAITING}"))

    def _upload(self, path: Path, open_storage: Callable[[str], Storage]) -> bool:
        try:
            with _claimed(path) as file:
                if file is None:
                    return False
                heading, content = _read(file)
                open_storage(heading.target).write(heading.name, content)
                path.unlink()
        except (StorageAway, Misconfigured) as exc:
            self._pauses.lengthen(_target_digest(path))
            reason = exc.reason if isinstance(exc, StorageAway) else exc.detail
            logger.warning("a file waits for S3", extra={"file": path.name, "reason": reason})
        except _Unreadable:
            logger.error("a waiting file can't be read and is set aside", extra={"file": path.name})
            with contextlib.suppress(FileNotFoundError):  # another process may have been faster
                path.rename(path.with_suffix(BROKEN))
        except Exception:  # whatever it is, it must not stand in the way of the others
            logger.exception("a waiting file was not uploaded", extra={"file": path.name})
        else:
            self._pauses.end(_target_digest(path))
            return True
        self._failures[path.name] += 1
        return False


class _Pauses:
    """How long each target is left alone: twice as long with every failure, and never the same for all
    processes."""

    def __init__(self, shortest_s: float) -> None:
        self._shortest_s = shortest_s
        self._lock = threading.Lock()
        self._ends: dict[str, float] = {}
        self._lengths_s: dict[str, float] = {}

    def is_on(self, target: str) -> bool:
        with self._lock:
            return time.monotonic() < self._ends.get(target, 0.0)

    def lengthen(self, target: str) -> None:
        with self._lock:
            length_s = min(LONGEST_PAUSE_S, 2 * self._lengths_s.get(target, self._shortest_s / 2))
            self._lengths_s[target] = length_s
            self._ends[target] = time.monotonic() + length_s * random.uniform(0.5, 1.0)

    def end(self, target: str) -> None:
        with self._lock:
            self._lengths_s.pop(target, None)
            self._ends.pop(target, None)


def _digest(sealed_target: str) -> str:
    return hashlib.sha256(sealed_target.encode()).hexdigest()[:16]


def _target_digest(path: Path) -> str:
    return path.stem.rpartition("-")[2]


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[BinaryIO | None]:
    """The file, locked; None if another process has it or has uploaded it. The lock ends with its process."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file if path.exists() else None  # it was deleted between opening and locking


def _read(file: BinaryIO) -> tuple[_Heading, bytes]:
    try:
        heading = _Heading.model_validate_json(file.readline())
    except ValidationError:
        raise _Unreadable from None
    content = file.read()
    if len(content) != heading.content_bytes:
        raise _Unreadable
    return heading, content
