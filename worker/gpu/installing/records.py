"""What is told of installed files: their digests, and beside them the entry that they are."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from shared.manifests import ManifestFile
from shared.registry import Entry
from worker.gpu.installing.effort import Effort
from worker.gpu.installing.places import RECORD

READ_BYTES = 1 << 20


def digests(place: Path, effort: Effort) -> tuple[ManifestFile, ...]:
    """Of all files in a folder, or of one file."""
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    folder = place if place.is_dir() else place.parent
    return tuple(
        ManifestFile(
            path=file.relative_to(folder).as_posix(),
            bytes=file.stat().st_size,
            sha256=sha256_of(file, effort),
        )
        for file in files
    )


def digest_of_all(files: Iterable[ManifestFile]) -> str:
    """Of the list of the files' digests."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256_of(file: Path, effort: Effort) -> str:
    """Raises `Cancelled` in between."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            effort.check()
            digest.update(block)
    return digest.hexdigest()


def write_record(entry: Entry, folder: Path) -> None:
    (folder / RECORD).write_text(entry.model_dump_json(indent=2) + "\n")


def read_record(folder: Path) -> Entry | None:
    """None if no entry was installed there."""
    try:
        return Entry.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
