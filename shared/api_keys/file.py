"""The file with the entries of all keys: read by gateways, changed by the command. It holds no key itself."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from shared.api_keys.keys import ApiKey, what_is_wrong
from shared.errors import Misconfigured
from shared.whole_files import write_whole

_ENTRIES = TypeAdapter(list[ApiKey])
_MODE = 0o600


def read_keys(file: Path) -> list[ApiKey]:
    """Raises `Misconfigured` with a sentence that holds nothing of the file's content."""
    try:
        return _ENTRIES.validate_json(file.read_bytes())
    except OSError as exc:
        raise _unusable(file, exc) from exc
    except ValidationError as exc:
        raise Misconfigured(f"{file}: {what_is_wrong(exc)}.") from None


@contextlib.contextmanager
def changing_keys(file: Path, *, may_be_new: bool = False) -> Iterator[list[ApiKey]]:
    """The entries, to be changed by the block; written when it ends without an error.

    One process at a time; a reader sees all of the change or nothing. Raises `Misconfigured`.
    """
    file = file.resolve()  # a link stays one
    try:
        with _locked(file):
            keys = [] if may_be_new and not file.exists() else read_keys(file)
            yield keys
            _write(file, keys)
    except OSError as exc:
        raise _unusable(file, exc) from exc


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Locks a file of its own: the other one is replaced."""
    descriptor = os.open(file.with_name(f".{file.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(file: Path, keys: Sequence[ApiKey]) -> None:
    # root may change the file, and the gateway must still be able to read it
    owner = file.stat().st_uid if file.exists() else None
    write_whole(file, _ENTRIES.dump_json(list(keys), indent=2) + b"\n", mode=_MODE, owner=owner)


def _unusable(file: Path, error: OSError) -> Misconfigured:
    return Misconfigured(f"{file}: {error.strerror or 'it cannot be used'}.")
