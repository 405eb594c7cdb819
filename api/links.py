"""Under which URLs finished files are found: the gateway's own, a bucket's, or signed ones."""

import contextlib
from collections.abc import Iterator

from shared.errors import Misconfigured, StorageUnavailable
from shared.registry import Snapshot
from shared.sealing import Sealer
from shared.settings import Settings
from shared.storage import S3Storages, S3Target, Storage

FOLDER = "generations"
"""Path of the storage folder's files."""
SIGNED = "stored"
"""Path of the files of private buckets, which is answered with a signed link."""


class Links:
    """Of one gateway. What opens a bucket blocks: to make a client takes a while."""

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._sealer = sealer
        self._storages = S3Storages(sealer, settings.temp_life_s, settings.allow_private_hosts)
        self._link_life_s = settings.signed_link_life_s

    def files_url(self, models: Snapshot, target: str | None, public_url: str) -> str:
        """What stands before a file's name, without a slash at its end. `target`: the S3 target's entry, None
        for the storage folder. Raises `StorageUnavailable` if the target can't be opened here."""
        if target is None:
            return f"{public_url}/{FOLDER}"
        with _opening():
            files_url = S3Target.unsealed(models.targets[target], self._sealer).files_url
        return files_url or f"{public_url}/{SIGNED}/{target}"

    def storage(self, models: Snapshot, target: str) -> Storage:
        """Where the files of this S3 target go. Blocks. Raises `StorageUnavailable`."""
        with _opening():
            return self._storages.open(models.targets[target])

    def followed(self, models: Snapshot, public_url: str, address: str) -> str:
        """Where a link of ours into a private bucket leads at the moment; any other address as it is.
        Blocks."""
        prefix = f"{public_url}/{SIGNED}/"
        if not address.startswith(prefix):
            return address
        target, _, name = address.removeprefix(prefix).partition("/")
        return self.signed(models, target, name) or address

    def signed(self, models: Snapshot, target: str, name: str, *, head: bool = False) -> str | None:
        """A link that ends; None if there is no such target any more, or no file can have this name. Blocks.
        `head`: it is to be asked with HEAD."""
        try:
            storage = self._storages.open(models.targets[target])
            return storage.presigned(name, self._link_life_s, head=head)
        except (KeyError, ValueError, Misconfigured):
            return None


@contextlib.contextmanager
def _opening() -> Iterator[None]:
    try:
        yield
    except Misconfigured as exc:
        raise StorageUnavailable(exc.detail) from exc
