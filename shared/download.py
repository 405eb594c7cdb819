"""Downloads files from URLs that clients name, bounded in time, in size and in redirects.

Every hop is checked like the first (`shared/outbound.py`) and made by a client of its own, so that no server
learns what another one said. Files too large for memory: `worker/gpu/installing/fetching.py`.
"""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

import httpx

from shared.errors import DownloadFailed, RefusedAddress
from shared.outbound import CONNECT_TIMEOUT_S, Outbound, check_url
from shared.settings import Settings

_HEADERS = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
_PLAIN = ("", "identity")
_ZIPPED = ("gzip", "x-gzip", "deflate")
_ANY_ZLIB_HEADER = zlib.MAX_WBITS | 32


@dataclass(frozen=True)
class Asking:
    """How a URL is asked for its file, and how far it may lead."""

    headers: Mapping[str, str]
    most_redirects: int
    allowed_private_hosts: Collection[str]
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Headers for the first server only, however often it redirects."""
    silence_s: float | None = None
    """How long a server may say nothing."""


async def download(outbound: Outbound, url: str, limits: Settings) -> bytes:
    """The file's bytes. Raises `RefusedAddress` for what may not be reached, else `DownloadFailed`."""
    asking = Asking(_HEADERS, limits.input_max_redirects, limits.allow_private_hosts)
    try:
        async with asyncio.timeout(limits.input_timeout_s):
            with in_words():
                async with answered(outbound, url, asking) as response:
                    body = await _read(response, limits.input_max_bytes)
                encoding = encoding_of(response)
                return await asyncio.to_thread(_unpacked, body, encoding, limits.input_max_bytes)
    except TimeoutError:
        raise DownloadFailed(f"it did not arrive within {limits.input_timeout_s:g} s") from None


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Turns what the HTTP library raises into `DownloadFailed`; its own words may hold the URL."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise DownloadFailed("its server can't be reached") from None
    except (httpx.InvalidURL, ValueError):
        raise DownloadFailed("it is no URL that can be fetched") from None
    except httpx.HTTPError:
        raise DownloadFailed("its server broke off or does not speak HTTP") from None


@contextlib.asynccontextmanager
async def answered(outbound: Outbound, url: str, asking: Asking) -> AsyncIterator[httpx.Response]:
    """The answer at the end of all redirects, whatever its status, still to be read.

    Raises `RefusedAddress` for what may not be reached, `DownloadFailed` if there is no end of redirects.
    """
    first = url
    for hop in range(asking.most_redirects + 1):
        async with contextlib.AsyncExitStack() as hop_ends:
            try:
                check_url(url, asking.allowed_private_hosts)
                headers = {**asking.headers, **(asking.credentials if _same_server(url, first) else {})}
                client = await hop_ends.enter_async_context(outbound.client())
                timeout = httpx.Timeout(asking.silence_s, connect=CONNECT_TIMEOUT_S)
                stream = client.stream("GET", url, headers=headers, timeout=timeout)
                response = await hop_ends.enter_async_context(stream)
            except RefusedAddress as exc:
                if hop == 0:
                    raise
                raise RefusedAddress(f"leads to an address that {exc.detail}") from None
            if not response.has_redirect_location:
                yield response
                return
            url = urljoin(url, response.headers["location"])
    raise DownloadFailed(f"it is redirected more than {asking.most_redirects} times")


def encoding_of(response: httpx.Response) -> str:
    """What its body is packed with; empty for nothing."""
    encoding = str(response.headers.get("content-encoding", "")).strip().lower()
    return "" if encoding in _PLAIN else encoding


def too_large(most_bytes: int) -> DownloadFailed:
    return DownloadFailed(f"it is larger than {most_bytes:,} bytes")


def _same_server(url: str, other: str) -> bool:
    """Whether the same server answers both."""
    here, there = httpx.URL(url), httpx.URL(other)
    return (here.scheme, here.host, here.port) == (there.scheme, there.host, there.port)


async def _read(response: httpx.Response, most_bytes: int) -> bytes:
    if not response.is_success:
        raise DownloadFailed(f"its server answered {response.status_code}")
    if int(response.headers.get("content-length", 0)) > most_bytes:
        raise too_large(most_bytes)
    chunks, size = [], 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > most_bytes:
            raise too_large(most_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """No more is unpacked than may be: a small body can hold gigabytes of zeros."""
    if not encoding:
        return body
    if encoding not in _ZIPPED:
        raise DownloadFailed(f"it comes in the content encoding {encoding[:20]!r}, which was not asked for")
    unpacker = zlib.decompressobj(_ANY_ZLIB_HEADER)
    try:
        content = unpacker.decompress(body, most_bytes + 1)
    except zlib.error:
        raise DownloadFailed(f"it can't be unpacked as {encoding}") from None
    if len(content) > most_bytes:
        raise too_large(most_bytes)
    if not unpacker.eof:
        raise DownloadFailed("its server broke off or does not speak HTTP")
    return content
