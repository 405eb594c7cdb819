"""Where finished files lie: a folder that the gateway serves at /generations/.

Names are unguessable (the job's file prefix), so a URL is the permission to read it.
"""

import os
import re
import tempfile
from pathlib import Path

_NAME = re.compile(r"[0-9a-f-]{36}-\d+\.(?:png|base64)")
CONTENT_TYPES = {".png": "image/png", ".base64": "text/plain; charset=us-ascii"}


class FolderStorage:
    """Files in one folder. A file is there completely or not at all."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "generations"
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: bytes) -> None:
        """Replace the file `name` atomically, durable before it is visible."""
        path = self._path(name)
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".writing-")
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
        return path if path.is_file() else None

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name of ours: {name!r}")
        return self._folder / name
