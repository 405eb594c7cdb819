"""A file that is being fetched: what came of it outlives the process, and the next attempt goes on there."""

import hashlib
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

PART, KNOWN = ".part", ".part.json"
READ_BYTES = 1 << 20


class Known(BaseModel):
    """What the server said of the file."""

    model_config = ConfigDict(frozen=True)

    validator: str = ""
    """Tells if the file is still the same: a strong ETag, or when it was changed. Empty: nothing tells."""
    total: int | None = None
    """Its bytes."""
    name: str = ""


class Part:
    """`file` as far as it is there; it gets its name when it is whole."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._part = file.with_name(file.name + PART)
        self._note = file.with_name(file.name + KNOWN)
        self.known = self._noted()
        self._hash = hashlib.sha256()
        self.size = 0
        self.heard = 0.0
        """When something of it came last, by the monotonic clock."""

    def __enter__(self) -> Self:
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._part.open("ab")
        if self.known.validator:
            with self._part.open("rb") as there:
                while block := there.read(READ_BYTES):
                    self._hash.update(block)
            self.size = self._part.stat().st_size
        else:
            self._stream.truncate(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    @property
    def is_whole(self) -> bool:
        return self.size > 0 and self.size == self.known.total

    @property
    def folder(self) -> Path:
        return self._file.parent

    def begin(self, known: Known) -> None:
        """A file comes from its first byte on."""
        self._stream.truncate(0)
        self._hash, self.size, self.known = hashlib.sha256(), 0, known
        self._note.write_text(known.model_dump_json())

    def write(self, block: bytes) -> None:
        self._stream.write(block)
        self._hash.update(block)
        self.size += len(block)
        self.heard = time.monotonic()

    def finish(self) -> str:
        """Give the file its name; tells its SHA-256."""
        self._stream.close()
        self._part.replace(self._file)
        self._note.unlink(missing_ok=True)
        return self._hash.hexdigest()

    def _noted(self) -> Known:
        try:
            return Known.model_validate_json(self._note.read_bytes())
        except (OSError, ValidationError):
            return Known()
