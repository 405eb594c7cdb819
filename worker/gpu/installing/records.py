"""What is told of installed files: their digests, and beside them the entry that they are."""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from shared.registry import Entry
from worker.gpu.installing.effort import Effort
from worker.gpu.installing.places import RECORD

READ_BYTES = 1 << 20


def files_in(place: Path) -> list[Path]:
    """All files in a folder, or the one file, in a fixed order."""
    return sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]


def digest_of_all(place: Path, effort: Effort) -> str:
    """Of the list of its files' digests; raises `Cancelled` in between."""
    folder = place if place.is_dir() else place.parent
    lines = "".join(
        f"{sha256_of(file, effort)}  {file.relative_to(folder).as_posix()}\n" for file in files_in(place)
    )
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
