"""Which files a model consists of, with their digests, so that a copy can be told from the original."""

import hashlib
import threading
from collections import defaultdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class ManifestFile(BaseModel):
    """One file; `path` is relative to the model's folder, or the file's own name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    bytes: int
    sha256: str


class Manifests:
    """Remembers digests for as long as files don't change: models have gigabytes. Safe to share between
    threads; of those that ask for the same entry one reads its files, and the others wait."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, tuple[ManifestFile, ...]]] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def of(self, entry_id: str, place: Path) -> tuple[ManifestFile, ...]:
        """Blocks while files are read for the first time. Raises `OSError`."""
        with self._locks[entry_id]:
            files = sorted(each for each in place.rglob("*") if each.is_file()) if place.is_dir() else [place]
            version = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
            known = self._known.get(entry_id)
            if known is None or known[0] != version:
                root = place if place.is_dir() else place.parent
                known = self._known[entry_id] = version, tuple(_described(file, root) for file in files)
            return known[1]


def _described(file: Path, root: Path) -> ManifestFile:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return ManifestFile(path=file.relative_to(root).as_posix(), bytes=file.stat().st_size, sha256=digest)
