"""Puts each finished file where its job says: into the folder, or into a client's bucket, however long S3 is
away."""

import threading
import time
from collections import OrderedDict
from collections.abc import Collection

from shared.errors import Misconfigured
from shared.sealing import Sealer
from shared.storage.bucket import DURING_A_JOB, Patience
from shared.storage.folder import FolderStorage
from shared.storage.s3 import S3Storage, StorageAway
from shared.storage.spool import Spool
from shared.storage.target import S3Target

MOST_OPEN = 16
REST_S = 10.0


class S3Storages:
    """The storages that were used last, by their sealed targets: a client is costly to make."""

    def __init__(
        self,
        sealer: Sealer,
        temp_life_s: float,
        allowed_private_hosts: Collection[str],
        patience: Patience = DURING_A_JOB,
    ) -> None:
        self._sealer = sealer
        self._temp_life_s = temp_life_s
        self._allowed = allowed_private_hosts
        self._patience = patience
        self._lock = threading.Lock()
        self._open: OrderedDict[str, S3Storage] = OrderedDict()

    def open(self, sealed_target: str) -> S3Storage:
        """Raises `Misconfigured` if the target can't be unsealed here."""
        with self._lock:
            storage = self._open.pop(sealed_target, None)
            if storage is None:
                target = S3Target.unsealed(sealed_target, self._sealer)
                storage = S3Storage(target, self._temp_life_s, self._allowed, self._patience)
            self._open[sealed_target] = storage
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)  # not closed: another thread may be using it
            return storage


class Stores:
    """Both ends and the spool between; safe to share between threads."""

    def __init__(
        self, folder: FolderStorage, spool: Spool, sealer: Sealer, allowed_private_hosts: Collection[str]
    ) -> None:
        self._folder = folder
        self._spool = spool
        self._buckets = S3Storages(sealer, folder.temp_life_s, allowed_private_hosts)
        self._rests: dict[str, float] = {}

    def write(self, name: str, content: bytes, sealed_target: str | None) -> bool:
        """Whether the file can be read now; if not, it waits on this machine's disk for S3 to come back.
        Raises `OSError` if it can be kept nowhere."""
        if sealed_target is None:
            self._folder.write(name, content)
            return True
        if self._sent(name, content, sealed_target):
            return True
        self._spool.keep(name, content, sealed_target)
        return False

    def _sent(self, name: str, content: bytes, sealed_target: str) -> bool:
        # the next files of a job need not wait again for an S3 that was away a moment ago
        if time.monotonic() < self._rests.get(sealed_target, 0.0):
            return False
        try:
            self._buckets.open(sealed_target).write(name, content)
        except (StorageAway, Misconfigured):
            self._rests[sealed_target] = time.monotonic() + REST_S
            return False
        self._rests.pop(sealed_target, None)
        return True
