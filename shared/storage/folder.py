"""Files on a disk of the installation: finished ones in a folder that the gateway serves at /generations/,
inputs in one that is never served."""

import math
import time
from pathlib import Path

from shared.errors import InputGone
from shared.jobs import TEMP_FOLDER, Role
from shared.storage.names import FINISHED, INPUT, checked, input_name
from shared.whole_files import abandoned_in, age_s, write_whole

GRACE_SHARE = 0.01
"""Of a temporary file's life: so much later it is deleted, so that nobody is just reading it."""


class FolderStorage:
    """Files in two folders. A file is there completely or not at all."""

    def __init__(self, data_dir: Path, temp_life_s: float) -> None:
        """Files of `temp: yes` end `temp_life_s` after they were written."""
        self._folder = data_dir / "generations"
        self._temp = self._folder / TEMP_FOLDER
        self._inputs = data_dir / "inputs"
        for folder in (self._temp, self._inputs):
            folder.mkdir(parents=True, exist_ok=True)
        self.temp_life_s = temp_life_s

    def write(self, name: str, content: bytes) -> None:
        """Replace the file `name` atomically, durable before it is visible. Raises `OSError`."""
        write_whole(self._folder / checked(name, FINISHED), content)

    def write_input(self, name: str, content: bytes) -> None:
        """The same for an input (see `input_name`)."""
        write_whole(self._inputs / checked(name, INPUT), content)

    def read_input(self, name: str) -> bytes:
        """Raises `InputGone` if it was deleted."""
        try:
            return (self._inputs / checked(name, INPUT)).read_bytes()
        except FileNotFoundError:
            raise InputGone("A picture of this job is no longer stored: send the request again.") from None

    def drop_inputs(self, file_prefix: str) -> None:
        """Delete all inputs of one job, if there are any."""
        for role in Role:
            (self._inputs / checked(input_name(file_prefix, role), INPUT)).unlink(missing_ok=True)

    def find(self, name: str) -> Path | None:
        """The file's path, or None if there is no such file (yet)."""
        if not FINISHED.fullmatch(name):
            return None
        path = self._folder / name
        return path if path.is_file() and self.life_left_s(path) > 0 else None

    def life_left_s(self, path: Path) -> float:
        """For how long the file can still be read; infinite for one that is kept."""
        if path.parent != self._temp:
            return math.inf
        try:
            return path.stat().st_mtime + self.temp_life_s - time.time()
        except FileNotFoundError:  # it was deleted just now
            return -math.inf

    def remove_expired(self, input_life_s: float) -> int:
        """Delete temporary files and inputs whose time is over, and what killed processes were writing; tells
        how many."""
        grace_s = GRACE_SHARE * self.temp_life_s
        expired = [path for path in self._temp.iterdir() if self.life_left_s(path) <= -grace_s]
        unused = [path for path in self._inputs.iterdir() if age_s(path) > input_life_s]
        gone = (*expired, *unused, *abandoned_in(self._folder))
        for path in gone:
            path.unlink(missing_ok=True)  # another gateway may have been faster
        return len(gone)
