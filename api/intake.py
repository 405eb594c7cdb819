"""Takes in the pictures that clients send: fetched or decoded, checked, and stored.

Nothing of a request is stored unless all of its pictures can be used. What the fields mean is not known here.
"""

import asyncio
import base64
import contextlib
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar, TypeVarTuple

from api.wire.requests import GivenPicture
from shared.download import download
from shared.errors import BadPicture, BadRequest, DownloadFailed, RefusedAddress, StorageUnavailable
from shared.jobs import InputPicture, Role
from shared.outbound import Outbound
from shared.pictures import FileFormat, read_mask, read_picture, written_as
from shared.settings import Settings
from shared.storage import FolderStorage, Storage, input_name

logger = logging.getLogger(__name__)

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

DOWNLOADS_AT_ONCE, DOWNLOADS_PER_TENANT = 64, 16
THREADS, THREADS_PER_TENANT = 4, 2
"""Pictures that are decoded at once: the largest ones take half a gigabyte each. No tenant gets them all."""
UPLOADS, UPLOADS_PER_TENANT = 8, 2
"""Files that are sent to where they can be read, which may be an S3 that does not answer."""
UNFETCHED = "Unable to fetch image from provided URL"
IN_BASE64 = "base64"
_NEITHER = "must be an http or https URL, or a picture in base64"
_SUFFIXES: dict[FileFormat, str] = {"PNG": ".png", "JPEG": ".jpg"}
_URL_ALPHABET = str.maketrans("-_", "+/")


@dataclass(frozen=True)
class Checked:
    """A picture's file as it came, and the picture's size in pixels."""

    content: bytes
    width: int
    height: int


@dataclass
class Share:
    """What one tenant may occupy."""

    downloads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DOWNLOADS_PER_TENANT))
    threads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(THREADS_PER_TENANT))
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS_PER_TENANT))


@dataclass(frozen=True)
class Sender:
    """Who sends pictures: what that tenant may occupy, and what links of ours it may send."""

    share: Share
    public_url: str
    followed: Callable[[str], str]


class Intake:
    """One per gateway process: it bounds how many pictures are downloaded and decoded at a time."""

    def __init__(self, settings: Settings, storage: FolderStorage) -> None:
        self._limits = settings
        self._storage = storage
        self._outbound = Outbound(settings.allow_private_hosts)
        self._downloads = asyncio.Semaphore(DOWNLOADS_AT_ONCE)
        self._shares: defaultdict[str, Share] = defaultdict(Share)
        # not asyncio's own threads: look-ups of slow names can occupy all of those
        self._threads = ThreadPoolExecutor(THREADS, "intake")
        self._uploading = ThreadPoolExecutor(UPLOADS, "uploads")

    async def take(
        self,
        given: Mapping[Role, GivenPicture],
        *,
        tenant: str,
        file_prefix: str,
        public_url: str,
        followed: Callable[[str], str],
    ) -> dict[Role, InputPicture]:
        """Store the pictures of one request for the worker, by role.

        `public_url`: where this client reaches us; files of ours are not fetched over HTTP. `followed`: where
        links of ours lead that are in buckets. Raises `BadPicture` with a sentence for each that can't be
        used, or `StorageUnavailable`; nothing is stored then.
        """
        given = {role: replace(one, value=one.value.strip()) for role, one in given.items()}
        sender = Sender(self._shares[tenant], public_url, followed)
        results = await asyncio.gather(*(self._checked(role, given[role], sender) for role in given))
        if refusals := [result.detail for result in results if isinstance(result, BadPicture)]:
            raise BadPicture("; ".join(refusals))
        checked = {
            role: result
            for role, result in zip(given, results, strict=True)
            if not isinstance(result, BadPicture)
        }
        contents = {input_name(file_prefix, role): one.content for role, one in checked.items()}
        with _storing():
            await self._in_thread(self._write_inputs, file_prefix, contents)
        return {
            role: InputPicture(
                name=input_name(file_prefix, role),
                told=given[role].value if _is_url(given[role].value) else IN_BASE64,
                width=one.width,
                height=one.height,
            )
            for role, one in checked.items()
        }

    async def publish(self, given: GivenPicture, wanted: FileFormat, storage: Storage, *, tenant: str) -> str:
        """Store a picture in base64 as a file that anyone with its URL can read; its name.

        Raises `BadPicture` or `StorageUnavailable`.
        """
        share = self._shares[tenant]
        with _about(given.field):
            content = await self._in_thread(self._in_base64, given.value)
            if content is None:
                raise BadRequest("must be a picture in base64")
            async with share.threads:
                file = await self._in_thread(written_as, wanted, content, self._limits)
        name = f"{uuid.uuid4()}-0{_SUFFIXES[wanted]}"
        with _storing():
            async with share.uploads:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._uploading, storage.write, name, file)
        return name

    def _in_thread(self, work: Callable[[*Arguments], T], *arguments: *Arguments) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _checked(self, role: Role, given: GivenPicture, sender: Sender) -> Checked | BadPicture:
        try:
            with _about(given.field):
                content = await self._content(given, sender)
                read = read_mask if role is Role.MASK else read_picture
                async with sender.share.threads:
                    picture = await self._in_thread(read, content, self._limits)
        except BadPicture as exc:
            return exc
        return Checked(content, *picture.size)

    async def _content(self, given: GivenPicture, sender: Sender) -> bytes:
        if not _is_url(given.value):
            content = await self._in_thread(self._in_base64, given.value)
            if content is None:
                raise BadRequest(_NEITHER)
            return content
        address = given.value.partition("#")[0].partition("?")[0]
        own_name = self._own_name(address, sender.public_url)
        if own_name is None:
            async with sender.share.downloads, self._downloads:
                address_now = await asyncio.to_thread(sender.followed, given.value)
                content = await download(self._outbound, address_now, self._limits)
        else:
            content = await self._in_thread(self._own_file, own_name)
        if address.endswith(".base64"):
            text = content.decode("ascii", errors="replace")
            return await self._in_thread(self._in_base64, text) or content
        return content

    def _own_name(self, address: str, public_url: str) -> str | None:
        """The name of the file if it is one of ours: we may have no way to our own address."""
        for base in filter(None, (public_url, self._limits.public_url.rstrip("/"))):
            if address.startswith(f"{base}/generations/"):
                return address.removeprefix(f"{base}/generations/")
        return None

    def _own_file(self, name: str) -> bytes:
        path = self._storage.find(name)
        try:
            content = path.read_bytes() if path else None
        except FileNotFoundError:  # it was deleted just now
            content = None
        if content is None:
            raise BadPicture("there is no such file here: it is not ready yet, or it has expired")
        return content

    def _in_base64(self, text: str) -> bytes | None:
        """What the text holds, bare or as a `data:` URI; None if that is not base64."""
        if text[:5].lower() == "data:":
            kind, _, text = text.partition(",")
            if not kind.lower().endswith(";base64"):
                return None
        compact = "".join(text.split()).rstrip("=").translate(_URL_ALPHABET)
        try:
            content = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
        except ValueError:
            return None
        if len(content) > self._limits.input_max_bytes:
            raise BadPicture(
                f"the file has {len(content):,} bytes; send at most {self._limits.input_max_bytes:,}"
            )
        return content

    def _write_inputs(self, file_prefix: str, contents: Mapping[str, bytes]) -> None:
        try:
            for name, content in contents.items():
                self._storage.write_input(name, content)
        except OSError:
            self._storage.drop_inputs(file_prefix)
            raise


def _is_url(value: str) -> bool:
    return value[:8].lower().startswith(("http://", "https://"))


@contextlib.contextmanager
def _about(field: str) -> Iterator[None]:
    """Makes what is wrong with a picture a sentence about the field that held it."""
    try:
        yield
    except (BadRequest, RefusedAddress) as exc:
        raise BadPicture(f"{field} {exc.detail}") from None
    except DownloadFailed as exc:
        raise BadPicture(f"{UNFETCHED} ({field}): {exc.detail}") from None
    except BadPicture as exc:
        raise BadPicture(f"{field}: {exc.detail}") from None


@contextlib.contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        logger.exception("picture not stored")
        raise StorageUnavailable("Pictures can't be stored at the moment. Please try again later.") from exc
