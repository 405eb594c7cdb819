"""Fetches a model that another server of ours has, as it keeps it: its entry, and each of its files."""

from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import GenerationFailed
from shared.jobs import LoadSpec
from shared.manifests import ManifestFile
from shared.registry import Entry
from worker.gpu.installing.effort import Effort
from worker.gpu.installing.fetching import Fetcher, Wanted
from worker.gpu.installing.places import is_inside

PATH = "/api/v1/enterprise/models"
_REFUSALS = {
    401: "the other server does not accept the key: send a key of that server in sync_key",
    403: "the key may not read the other server's models: send the key of one of its admins in sync_key",
    404: "the other server has no such model any more: send the request again",
}
NO_RECORD = "what the other server says of it makes no sense: it may be of another version"
_LONGEST_MESSAGE = 300


class Refusal(BaseModel):
    """What a server answers that has nothing to give, whatever the status."""

    model_config = ConfigDict(frozen=True)

    status: Literal["error"]
    message: str


class Copy(BaseModel):
    """What a server tells of an entry that others may copy."""

    model_config = ConfigDict(frozen=True)

    entry: Entry
    is_folder: bool
    files: tuple[ManifestFile, ...]
    """Relative to the model's folder; of a model that is none, the one file's name."""

    @property
    def is_sound(self) -> bool:
        """Whether its files can be had, and kept apart from all others."""
        is_whole = len(self.files) > 0 if self.is_folder else len(self.files) == 1
        return is_whole and all(is_inside(each.path) and each.sha256 for each in self.files)


class Peer:
    """Another server, with a key of it."""

    def __init__(self, fetcher: Fetcher, url: str, key: str) -> None:
        self._fetcher = fetcher
        self._url = url.rstrip("/") + PATH
        self._credentials = {"Authorization": f"Bearer {key}"}

    def fetch(self, spec: LoadSpec, folder: Path, effort: Effort) -> tuple[Entry, Path]:
        """Its files into the folder; those that are there already stay.

        Tells what it is over there, and where it lies here.
        """
        copy = self._copy(spec.peer_entry, folder.with_suffix(".json"), effort)
        url = f"{self._url}/{spec.peer_entry}/files"
        files = (
            (folder / file.path, self._wanted(f"{url}/{quote(file.path)}", file.sha256))
            for file in copy.files
        )
        self._fetcher.fetch_all(files, effort, sum(file.bytes for file in copy.files))
        return copy.entry, folder if copy.is_folder else folder / copy.files[0].path

    def _copy(self, entry_id: str, file: Path, effort: Effort) -> Copy:
        file.unlink(missing_ok=True)
        self._fetcher.fetch(self._wanted(f"{self._url}/{entry_id}"), file, effort, lambda *_: None)
        told = file.read_bytes()
        try:
            copy = Copy.model_validate_json(told)
        except ValidationError:
            raise GenerationFailed(_why_none(told)) from None
        if not copy.is_sound:
            raise GenerationFailed(NO_RECORD)
        return copy

    def _wanted(self, url: str, sha256: str = "") -> Wanted:
        return Wanted(url, self._credentials, sha256, _REFUSALS)


def _why_none(told: bytes) -> str:
    """What there is instead of a record."""
    try:
        message = Refusal.model_validate_json(told).message
    except ValidationError:
        return NO_RECORD
    return f"the other server says: {message[:_LONGEST_MESSAGE]}"
