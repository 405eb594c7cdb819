"""Where finished files lie: a folder that the gateway serves at /generations/.

Names are unguessable (the job's file prefix), so a URL is the permission to read it.
"""

import math
import os
import re
import tempfile
import time
from pathlib import Path

from shared.jobs import TEMP_FOLDER

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME = re.compile(rf"(?:{TEMP_FOLDER})?(?:{_UUID}-\d+|\d+-{_UUID})\.(?:png|base64)")
CONTENT_TYPES = {".png": "image/png", ".base64": "text/plain; charset=us-ascii"}
WRITING = ".writing-"
LONGEST_WRITE_S = 3600.0
GRACE_SHARE = 0.01


class FolderStorage:
    """Files in one folder. A file is there completely or not at all."""

    def __init__(self, data_dir: Path, temp_life_s: float) -> None:
        """Files of `temp: yes` end `temp_life_s` after they were written."""
        self._folder = data_dir / "generations"
        self._temp = self._folder / TEMP_FOLDER
        self._temp.mkdir(parents=True, exist_ok=True)
        self._temp_life_s = temp_life_s

    def write(self, name: str, content: bytes) -> None:
        """Replace the file `name` atomically, durable before it is visible."""
        path = self._path(name)
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

    def remove_expired(self) -> int:
        """Delete temporary files whose time is over, and what killed workers were writing; tells how many."""
        # a little later than they stop being served, so that nobody is just reading them
        grace_s = GRACE_SHARE * self._temp_life_s
        expired = [path for path in self._temp.iterdir() if self.life_left_s(path) <= -grace_s]
        abandoned = [path for path in self._folder.rglob(f"{WRITING}*") if _age_s(path) > LONGEST_WRITE_S]
        for path in (*expired, *abandoned):
            path.unlink(missing_ok=True)  # another gateway may have been faster
        return len(expired) + len(abandoned)

    def drop_inputs(self, file_prefix: str) -> None:
        pass

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name of ours: {name!r}")
        return self._folder / name


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
