"""Room on the models folder's disk: what a client is told when there is too little."""

import errno
import shutil
from pathlib import Path

from shared.errors import GenerationFailed

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = tuple(f"(os error {number})" for number in _FULL)
"""How safetensors' errors say it, which are no `OSError`."""

NO_ROOM = (
    "the server's disk for models is full: ask the operator for room, or delete models that are not used"
)


def require_room(folder: Path, more_bytes: int) -> None:
    """Raises `GenerationFailed` if the folder's disk has not that much left."""
    if shutil.disk_usage(folder).free < more_bytes:
        raise GenerationFailed(NO_ROOM)


def is_full(exc: Exception) -> bool:
    """Whether that is why something could not be written."""
    if isinstance(exc, OSError):
        return exc.errno in _FULL
    return str(exc).endswith(_FULL_WORDS)
