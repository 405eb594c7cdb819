"""Downloads a file from a URL that a client names, bounded in time, in size and in redirects.

Every hop is checked like the first (`shared/outbound.py`) and made by a client of its own, so that no server
learns what another one said.
"""

import asyncio
import zlib
from urllib.parse import urljoin

import httpx

from shared.errors import DownloadFailed, RefusedAddress
from shared.outbound import Outbound, check_url
from shared.settings import Settings

_HEADERS = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
_PLAIN = ("", "identity")
_ZIPPED = ("gzip", "x-gzip", "deflate")
_ANY_ZLIB_HEADER = zlib.MAX_WBITS | 32


async def download(outbound: Outbound, url: str, limits: Settings) -> bytes:
    """The file's bytes. Raises `RefusedAddress` for what may not be reached, else `DownloadFailed`."""
    try:
        async with asyncio.timeout(limits.input_timeout_s):
            return await _follow(outbound, url, limits)
    except TimeoutError:
        raise DownloadFailed(f"it did not arrive within {limits.input_timeout_s:g} s") from None
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise DownloadFailed("its server can't be reached") from None
    except (httpx.InvalidURL, ValueError):
        raise DownloadFailed("it is no URL that can be fetched") from None
    except httpx.HTTPError:
        raise DownloadFailed("its server broke off or does not speak HTTP") from None


async def _follow(outbound: Outbound, url: str, limits: Settings) -> bytes:
    for hop in range(limits.input_max_redirects + 1):
        try:
            check_url(url, limits.allow_private_hosts)
            found = await _get(outbound, url, limits)
        except RefusedAddress as exc:
            if hop == 0:
                raise
            raise RefusedAddress(f"leads to an address that {exc.detail}") from None
        if isinstance(found, bytes):
            return found
        url = found
    raise DownloadFailed(f"it is redirected more than {limits.input_max_redirects} times")


async def _get(outbound: Outbound, url: str, limits: Settings) -> bytes | str:
    """The file, or the URL that it is redirected to."""
    async with outbound.client() as client, client.stream("GET", url, headers=_HEADERS) as response:
        if response.has_redirect_location:
            return urljoin(url, response.headers["location"])
        if not response.is_success:
            raise DownloadFailed(f"its server answered {response.status_code}")
        body = await _read(response, limits.input_max_bytes)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    return await asyncio.to_thread(_unpacked, body, encoding, limits.input_max_bytes)


async def _read(response: httpx.Response, most_bytes: int) -> bytes:
    if int(response.headers.get("content-length", 0)) > most_bytes:
        raise _too_large(most_bytes)
    chunks, size = [], 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > most_bytes:
            raise _too_large(most_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """No more is unpacked than may be: a small body can hold gigabytes of zeros."""
    if encoding in _PLAIN:
        return body
    if encoding not in _ZIPPED:
        raise DownloadFailed(f"it comes in the content encoding {encoding[:20]!r}, which was not asked for")
    unpacker = zlib.decompressobj(_ANY_ZLIB_HEADER)
    try:
        content = unpacker.decompress(body, most_bytes + 1)
    except zlib.error:
        raise DownloadFailed(f"it can't be unpacked as {encoding}") from None
    if len(content) > most_bytes:
        raise _too_large(most_bytes)
    if not unpacker.eof:
        raise DownloadFailed("its server broke off or does not speak HTTP")
    return content


def _too_large(most_bytes: int) -> DownloadFailed:
    return DownloadFailed(f"it is larger than {most_bytes:,} bytes")
