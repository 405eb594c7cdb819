"""Fetches files of any size from URLs to disk: goes on where a connection broke, or an earlier attempt ended.

Bounded in size, and in how long nothing comes; not in time. Every hop is checked (shared/download.py).
"""

import asyncio
import re
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import httpx

from shared.download import Asking, answered, encoding_of, in_words, too_large
from shared.errors import DownloadFailed
from shared.outbound import Outbound
from shared.settings import Settings
from worker.gpu.installing.effort import FETCHED, Effort
from worker.gpu.installing.parts import Known, Part
from worker.gpu.installing.room import require_room

T = TypeVar("T")
Tell = Callable[[int, int | None], None]
"""Is told how many bytes there are, of how many."""

CHECK_S = 0.1
"""How often it is looked whether the installation is still wanted."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
"""Before another attempt after a broken connection; each pause is twice as long as the one before."""
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True)
class Wanted:
    """One file."""

    url: str
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Headers for its server, and for no other that it redirects to."""
    sha256: str = ""
    """What its content must have."""
    refusals: Mapping[int, str] = field(default_factory=dict)
    """What its server means by an answer of this status."""


@dataclass(frozen=True)
class Fetched:
    name: str
    """As its server calls it."""
    sha256: str


class _MayPass(Exception):
    """The server can't serve now."""


class Fetcher:
    """Makes requests in the thread that calls it. `trusted_hosts` may have private addresses."""

    def __init__(self, settings: Settings, trusted_hosts: Collection[str] = ()) -> None:
        self._hosts = frozenset((*settings.allow_private_hosts, *trusted_hosts))
        self._outbound = Outbound(self._hosts)
        self._most_redirects = settings.input_max_redirects
        self._most_bytes = settings.model_max_bytes
        self._stall_s = settings.model_stall_s

    def fetch(self, wanted: Wanted, file: Path, effort: Effort, tell: Tell) -> Fetched:
        """Raises `RefusedAddress`, `DownloadFailed` or `Cancelled`; what came is kept for another attempt."""
        with Part(file) as part, in_words():
            if not part.is_whole:
                asyncio.run(self._watched(self._fetch(wanted, part, tell), effort))
            fetched = Fetched(part.known.name, part.finish())
        if wanted.sha256 not in ("", fetched.sha256):
            file.unlink()
            raise DownloadFailed("what came is not what its server announced: its SHA-256 is another")
        return fetched

    def fetch_all(self, files: Iterable[tuple[Path, Wanted]], effort: Effort, total: int) -> None:
        """Those that are not there already, one after the other. Raises as `fetch` does, and at once if
        `total` is too much: the number of bytes of which the progress is told."""
        if total > self._most_bytes:
            raise too_large(self._most_bytes)
        done = 0
        for file, wanted in files:

            def tell(size: int, _: int | None, before: int = done) -> None:
                if before + size > self._most_bytes:
                    raise too_large(self._most_bytes)
                effort.report(FETCHED * (before + size) / max(total, before + size, 1))

            if not file.exists():
                self.fetch(wanted, file, effort, tell)
            done += file.stat().st_size

    async def _watched(self, work: Coroutine[None, None, T], effort: Effort) -> T:
        task = asyncio.ensure_future(work)
        while not task.done():
            effort.check()  # asyncio.run ends the task if this raises
            await asyncio.wait({task}, timeout=CHECK_S)
        return task.result()

    async def _fetch(self, wanted: Wanted, part: Part, tell: Tell) -> None:
        """Until the file is whole, or nothing has come for too long."""
        size, pause_s, began = part.size, FIRST_PAUSE_S, time.monotonic()
        while True:
            try:
                return await self._fetch_on(wanted, part, tell)
            except (httpx.TransportError, _MayPass) as exc:
                if part.size > size:
                    size, pause_s = part.size, FIRST_PAUSE_S
                is_over = time.monotonic() + pause_s > max(began, part.heard) + self._stall_s
                if is_over or not part.size:  # one that never sent anything is not waited for
                    raise _last_words(exc, self._stall_s) from None
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _fetch_on(self, wanted: Wanted, part: Part, tell: Tell) -> None:
        headers = dict(_HEADERS)
        if part.size and part.known.validator:
            headers |= {"Range": f"bytes={part.size}-", "If-Range": part.known.validator}
        asking = Asking(headers, self._most_redirects, self._hosts, wanted.credentials, self._stall_s)
        async with answered(self._outbound, wanted.url, asking) as response:
            self._begin(part, response, wanted.refusals)
            async for block in response.aiter_raw():
                part.write(block)
                if part.size > self._most_bytes:
                    raise too_large(self._most_bytes)
                tell(part.size, part.known.total)

    def _begin(self, part: Part, response: httpx.Response, refusals: Mapping[int, str]) -> None:
        """Make the part ready for what the answer brings, or raise why it brings nothing."""
        _require_content(part, response, refusals)
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            _require_rest(part, response)
        else:
            part.begin(_told(response))
        if (total := part.known.total) is not None:
            if total > self._most_bytes:
                raise too_large(self._most_bytes)
            require_room(part.folder, total - part.size)


def _require_content(part: Part, response: httpx.Response, refusals: Mapping[int, str]) -> None:
    status = int(response.status_code)
    told = f"its server answered {status}"
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and part.size:
        part.begin(Known())
        raise _MayPass(told)
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise _MayPass(told)
    if not response.is_success:
        raise DownloadFailed(refusals.get(status, told))
    if encoding := encoding_of(response):
        raise DownloadFailed(f"it comes in the content encoding {encoding[:20]!r}, which was not asked for")


def _require_rest(part: Part, response: httpx.Response) -> None:
    """What comes must begin where the part ends."""
    found = _RANGE.match(response.headers.get("content-range", ""))
    if not found or int(found[1]) != part.size or int(found[2]) != part.known.total:
        part.begin(Known())
        raise _MayPass("its server sends other parts of it than those that were asked for")


def _told(response: httpx.Response) -> Known:
    headers = response.headers
    etag, length = headers.get("etag", ""), headers.get("content-length", "")
    is_strong = etag.startswith('"')
    return Known(
        validator=etag if is_strong else headers.get("last-modified", ""),
        total=int(length) if length.isdecimal() else None,
        name=_name(response),
    )


def _name(response: httpx.Response) -> str:
    """As the server calls the file, else the last part of where it lies."""
    disposition = Message()
    disposition["Content-Disposition"] = response.headers.get("content-disposition", "")
    return disposition.get_filename() or unquote(response.url.path.rpartition("/")[2])


def _last_words(exc: httpx.TransportError | _MayPass, stall_s: float) -> Exception:
    if isinstance(exc, _MayPass):
        return DownloadFailed(str(exc))
    if isinstance(exc, httpx.ReadTimeout):
        return DownloadFailed(f"nothing of it came for {stall_s:g} s")
    return exc
