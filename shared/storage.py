"""Where files lie: finished ones in a folder that the gateway serves at /generations/, inputs in one that is
never served.

Names of finished files are unguessable (the job's file prefix), so a URL is the permission to read it.
"""

import math
import os
import re
import tempfile
import time
from pathlib import Path

from shared.errors import InputGone
from shared.jobs import TEMP_FOLDER, Role

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
CONTENT_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".mp4": "video/mp4",
    ".base64": "text/plain; charset=us-ascii",
}
_NAME = re.compile(
    rf"(?:{TEMP_FOLDER})?(?:{_UUID}-\d+|\d+-{_UUID})(?:{'|'.join(map(re.escape, CONTENT_TYPES))})"
)
_INPUT_NAME = re.compile(rf"{_UUID}-(?:{'|'.join(Role)})")
WRITING = ".writing-"
LONGEST_WRITE_S = 3600.0
GRACE_SHARE = 0.01


def input_name(file_prefix: str, role: Role) -> str:
    """Name of the input that a job uses in this role."""
    return f"{file_prefix}-{role}"


class FolderStorage:
    """Files in two folders. A file is there completely or not at all."""

    def __init__(self, data_dir: Path, temp_life_s: float) -> None:
        """Files of `temp: yes` end `temp_life_s` after they were written."""
        self._folder = data_dir / "generations"
        self._temp = self._folder / TEMP_FOLDER
        self._inputs = data_dir / "inputs"
        for folder in (self._temp, self._inputs):
            folder.mkdir(parents=True, exist_ok=True)
        self._temp_life_s = temp_life_s

    def write(self, name: str, content: bytes) -> None:
        """Replace the file `name` atomically, durable before it is visible."""
        _write(self._folder / _checked(name, _NAME), content)

    def write_input(self, name: str, content: bytes) -> None:
        """The same for an input (see `input_name`)."""
        _write(self._inputs / _checked(name, _INPUT_NAME), content)

    def read_input(self, name: str) -> bytes:
        """Raises `InputGone` if it was deleted."""
        try:
            return (self._inputs / _checked(name, _INPUT_NAME)).read_bytes()
        except FileNotFoundError:
            raise InputGone("A picture of this job is no longer stored: send the request again.") from None

    def drop_inputs(self, file_prefix: str) -> None:
        """Delete all inputs of one job, if there are any."""
        for role in Role:
            (self._inputs / _checked(input_name(file_prefix, role), _INPUT_NAME)).unlink(missing_ok=True)

    def find(self, name: str) -> Path | None:
        """The file's path, or None if there is no such file (yet)."""
        if not _NAME.fullmatch(name):
            return None
        path = self._folder / name
        return path if path.is_file() and self.life_left_s(path) > 0 else None

    def life_left_s(self, path: Path) -> float:
        """For how long the file can still be read; infinite for one that is kept."""
        if path.parent != self._temp:
            return math.inf
        try:
            return path.stat().st_mtime + self._temp_life_s - time.time()
        except FileNotFoundError:  # it was deleted just now
            return -math.inf

    def remove_expired(self, input_life_s: float) -> int:
        """Delete temporary files and inputs whose time is over, and what killed processes were writing; tells
        how many."""
        # a little later than they stop being served, so that nobody is just reading them
        grace_s = GRACE_SHARE * self._temp_life_s
        expired = [path for path in self._temp.iterdir() if self.life_left_s(path) <= -grace_s]
        unused = [path for path in self._inputs.iterdir() if _age_s(path) > input_life_s]
        abandoned = [path for path in self._folder.rglob(f"{WRITING}*") if _age_s(path) > LONGEST_WRITE_S]
        for path in (*expired, *unused, *abandoned):
            path.unlink(missing_ok=True)  # another gateway may have been faster
        return len(expired) + len(unused) + len(abandoned)


def _checked(name: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(name):
        raise ValueError(f"not a name of ours: {name!r}")
    return name


def _write(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=WRITING)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
