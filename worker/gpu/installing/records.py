"""What is kept of an installation beside its files: its entry and their digests, as peers ask for them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.registry import Entry
from worker.gpu.installing.effort import Effort
from worker.gpu.installing.places import RECORD

READ_BYTES = 1 << 20


class KeptFile(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    path: str
    """Relative to the entry's folder."""
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Record(BaseModel):
    """An installed model."""

    model_config = ConfigDict(frozen=True)

    entry: Entry
    files: tuple[KeptFile, ...]


def digests(place: Path, effort: Effort) -> tuple[KeptFile, ...]:
    """Of all files in a folder, or of one file."""
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    folder = place if place.is_dir() else place.parent
    return tuple(
        KeptFile(
            path=file.relative_to(folder).as_posix(),
            bytes=file.stat().st_size,
            sha256=sha256_of(file, effort),
        )
        for file in files
    )


def digest_of_all(files: Iterable[KeptFile]) -> str:
    """Of the list of the files' digests."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256_of(file: Path, effort: Effort) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            effort.check()
            digest.update(block)
    return digest.hexdigest()


def write_record(record: Record, folder: Path) -> None:
    (folder / RECORD).write_text(record.model_dump_json(indent=2) + "\n")


def read_record(folder: Path) -> Record | None:
    """None if no entry was installed there."""
    try:
        return Record.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
