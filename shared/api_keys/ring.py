"""The keys that a running gateway accepts. It takes up a keys file that was changed, without a restart."""

import hmac
import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from shared.api_keys.file import read_keys
from shared.api_keys.keys import ApiKey, Role, digest
from shared.errors import InvalidKey, Misconfigured
from shared.settings import Settings

LOOK_EVERY_S = 1.0

logger = logging.getLogger(__name__)

_Version = tuple[int, ...]
"""Changes whenever the file does; empty while there is none."""


class KeyRing:
    """Safe to use from several threads."""

    def __init__(
        self, fixed: Sequence[ApiKey], file: Path | None = None, *, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        """`fixed` are there always, besides those of the file. Raises `Misconfigured` if it can't be read."""
        self._fixed = tuple(fixed)
        self._file = file
        self._look_every_s = look_every_s
        self._looking = threading.Lock()
        self._next_look = time.monotonic() + look_every_s
        self._seen = _version(file) if file else ()
        self._refused: _Version | None = None
        self._keys: tuple[ApiKey, ...] = (*fixed, *(read_keys(file) if file else ()))

    @classmethod
    def from_settings(cls, settings: Settings) -> "KeyRing":
        """Raises `Misconfigured` if the keys' file can't be read."""
        fixed = []
        if settings.api_key is not None:
            sha256 = digest(settings.api_key.get_secret_value())
            fixed.append(ApiKey(tenant="default", sha256=sha256, role=Role.ADMIN))
        try:
            return cls(fixed, settings.api_keys_file)
        except Misconfigured as exc:
            raise Misconfigured(f"PRINTWORKS_API_KEYS_FILE can't be used: {exc.detail}") from exc

    def identify(self, presented: str) -> ApiKey:
        """The key's entry; raises `InvalidKey`. Takes the same time whichever entry matches."""
        self._look()
        wanted = digest(presented)
        found = [key for key in self._keys if hmac.compare_digest(key.sha256, wanted)]
        valid = [key for key in found if not key.is_expired(datetime.now(UTC))]
        if not valid:
            raise InvalidKey("Invalid Api Key")
        return valid[0]

    def _look(self) -> None:
        """Read the file anew if it has changed; at most every `look_every_s`, and in one thread at a time."""
        if self._file is None or time.monotonic() < self._next_look:
            return
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + self._look_every_s
            self._take_up(self._file)
        finally:
            self._looking.release()

    def _take_up(self, file: Path) -> None:
        version = _version(file)  # before it is read: what is written meanwhile is seen at the next look
        if version == self._seen:
            return
        try:
            self._keys = (*self._fixed, *read_keys(file))
        except Misconfigured as exc:
            if version != self._refused:
                logger.error("keys file refused, the keys stay as they were", extra={"reason": exc.detail})
            self._refused = version
            return
        self._seen, self._refused = version, None
        logger.info("keys file read", extra={"keys": len(self._keys)})


def _version(file: Path) -> _Version:
    try:
        stat = file.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
