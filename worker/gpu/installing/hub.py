"""A hub of models: what its repositories hold, and their files.

The hub's own library says what there is; files are fetched like all others (fetching.py), so that they can be
cancelled, are bounded, and go on after the process was killed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from shared.errors import GenerationFailed
from shared.settings import Settings
from worker.gpu.installing.choosing import Names
from worker.gpu.installing.effort import Effort
from worker.gpu.installing.fetching import Fetcher, Wanted
from worker.gpu.installing.json_files import read_json
from worker.gpu.installing.places import is_inside

ANSWER_S = 30.0
"""How long the hub may take to say what a repository holds."""
LONGEST_NAME = 96
"""Of repositories, in characters."""
_ADDRESS = re.compile(r"(?P<name>\w[\w.-]*(?:/\w[\w.-]*)?)(?:@(?P<revision>[\w./-]+))?")

_COMMIT = re.compile("[0-9a-f]{7,64}")

GATED = (
    "its repository is gated: accept its terms on the hub, and ask the operator to set HF_TOKEN to a token "
    "of an account that has"
)
OUT_OF_REACH = "the hub can't be reached"
NO_HUB = "what the hub answers makes no sense: the operator may have set PRINTWORKS_HUB_URL to what is no hub"
_UNKNOWN = (401, 404)
"""What hubs answer to strangers about what may be private."""
_FAILURES = (httpx2.HTTPError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""What asking a hub raises, one that answers anything included."""


@dataclass(frozen=True)
class Content:
    """A file of a repository."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Repository:
    name: str
    commit: str
    files: Mapping[str, Content]

    @property
    def address(self) -> str:
        """Of this very state of it."""
        return f"{self.name}@{self.commit}"

    def bytes_of(self, paths: Iterable[str]) -> int:
        return sum(self.files[path].bytes for path in paths)


class Hub:
    """Makes requests in the thread that calls it.

    Raises `GenerationFailed` or `DownloadFailed` for what can't be had.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.hub_url.rstrip("/")
        self._fetcher = Fetcher(settings, (urlsplit(self._url).hostname or "",))

    def repository(self, address: str) -> Repository:
        """`address`: `owner/name`, with `@revision` behind it for another one than main."""
        parts = _ADDRESS.fullmatch(address)
        if parts is None or len(parts["name"]) > LONGEST_NAME:
            raise GenerationFailed("that is no id of a repository of the hub: send owner/name")
        name, revision = parts["name"], parts["revision"] or "main"
        try:
            api = HfApi(self._url, library_name="printworks")
            info = api.model_info(name, revision=revision, files_metadata=True, timeout=ANSWER_S)
        except _FAILURES as exc:
            raise GenerationFailed(_in_words(exc, name, revision)) from None
        files = {
            each.rfilename: Content(each.size or 0, each.lfs.sha256 if each.lfs else "")
            for each in info.siblings or ()
            if is_inside(each.rfilename)
        }
        if not _COMMIT.fullmatch(info.sha or ""):
            raise GenerationFailed(NO_HUB)
        return Repository(name, str(info.sha), files)

    def fetch(
        self, repository: Repository, names: Names, folder: Path, effort: Effort, *, total: int | None = None
    ) -> None:
        """Those of its files into the folder, under their new names; what is there already stays.

        `total`: of what number of bytes the progress is told, if these are not all.
        """
        files = ((folder / kept, self._wanted(repository, path)) for path, kept in names.items())
        self._fetcher.fetch_all(files, effort, repository.bytes_of(names) if total is None else total)

    def read(self, repository: Repository, path: str, folder: Path, effort: Effort) -> dict[str, Any]:
        """A small JSON file of the repository."""
        if not (folder / path).exists():
            self._fetcher.fetch(self._wanted(repository, path), folder / path, effort, lambda *_: None)
        return read_json(folder / path)

    def _wanted(self, repository: Repository, path: str) -> Wanted:
        url = f"{self._url}/{repository.name}/resolve/{quote(repository.commit, safe='')}/{quote(path)}"
        token = get_token()
        credentials = {"Authorization": f"Bearer {token}"} if token else {}
        return Wanted(url, credentials, repository.files[path].sha256, {401: GATED, 403: GATED})


def _in_words(exc: Exception, name: str, revision: str) -> str:
    status = exc.response.status_code if isinstance(exc, HfHubHTTPError) else 0
    if isinstance(exc, GatedRepoError) or status == httpx2.codes.FORBIDDEN:
        return GATED
    if isinstance(exc, RevisionNotFoundError):
        return f"repository {name} has no revision {revision}: send another one behind the @, or none"
    if isinstance(exc, RepositoryNotFoundError) or status in _UNKNOWN:
        return (
            f"the hub shows no repository {name}: check its id; for a private one ask the operator to set "
            "HF_TOKEN"
        )
    if status:
        return f"the hub answered {status}"
    if isinstance(exc, httpx2.HTTPError | OSError):
        return OUT_OF_REACH
    return NO_HUB
