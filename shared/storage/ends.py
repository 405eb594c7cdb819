"""What finished files are written to: `FolderStorage` and `S3Storage` are the two."""

from typing import Protocol


class Storage(Protocol):
    """An end that takes finished files."""

    def write(self, name: str, content: bytes) -> None:
        """Replace the file `name`; it can be read when this returns. Raises `OSError`."""
