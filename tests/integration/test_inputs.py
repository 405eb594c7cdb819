"""Input pictures: from a URL or base64 into storage, or a sentence about the field; servers are real."""

import asyncio
import base64
import gzip
import io
import threading
import uuid
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from PIL import Image

from api.intake import DOWNLOADS_PER_TENANT, UNFETCHED, Intake
from api.wire.requests import GivenPicture
from deploy.ports import free_port
from shared.errors import BadPicture, StorageUnavailable
from shared.jobs import InputPicture, Role
from shared.settings import Settings
from shared.storage import FolderStorage
from tests.support.jobs import make_spec
from tests.support.site import Page, answer, raw, redirect, running_site, silence, trickle
from tests.support.waiting import wait_until

OURS = "http://printworks.test"
WITHIN_S = 30


def encoded(colour: str = "red", kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, kind)
    return file.getvalue()


RED, BLUE = encoded("red"), encoded("blue", "JPEG")


class Desk:
    """An intake with a storage folder of its own; our own address can't be resolved."""

    def __init__(self, folder: Path, **changes: object) -> None:
        known = {"data_dir": folder, "allow_private_hosts": ("127.0.0.1",), "input_timeout_s": 10.0}
        self.settings = Settings.model_validate(known | changes)
        self.storage = FolderStorage(folder, 60)
        self.folder = folder
        self.prefix = str(uuid.uuid4())

    def take(self, **given: str) -> dict[Role, InputPicture]:
        """The role's field is called like it with `_image` behind."""
        return asyncio.run(self._take(given))

    async def _take(self, given: dict[str, str]) -> dict[Role, InputPicture]:
        fields = {Role(role): GivenPicture(f"{role}_image", value) for role, value in given.items()}
        taking = Intake(self.settings, self.storage).take(
            fields, tenant="tenant", file_prefix=self.prefix, public_url=OURS, followed=str
        )
        return await asyncio.wait_for(taking, WITHIN_S)

    def refusal(self, **given: str) -> str:
        """The sentence of a request that is refused; nothing may have been stored for it."""
        with pytest.raises(BadPicture) as caught:
            self.take(**given)
        assert self.stored == []
        return caught.value.detail

    @property
    def stored(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.folder / "inputs").iterdir())]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_picture_by_url_is_stored_as_it_came_and_told_by_its_url(desk: Desk) -> None:
    with running_site({"/red.png": answer(RED)}) as site:
        url = f"{site.url}/red.png?signature=a%20b"
        taken = desk.take(init=f" {url}\n")

    size = {"width": 16, "height": 16}
    assert taken == {Role.INIT: InputPicture(name=f"{desk.prefix}-init", told=url, **size)}
    assert desk.storage.read_input(taken[Role.INIT].name) == RED
    assert [request.path for request in site.requests] == ["/red.png?signature=a%20b"]


TEXT = base64.b64encode(RED).decode()
FORMS = {
    "bare": TEXT,
    "data uri": f"data:image/png;base64,{TEXT}",
    "data uri in capitals": f"DATA:image/PNG;BASE64,{TEXT}",
    "in lines": "\n".join(TEXT[start : start + 20] for start in range(0, len(TEXT), 20)) + "\n",
    "without padding": TEXT.rstrip("="),
    "with the alphabet of URLs": base64.urlsafe_b64encode(RED).decode(),
}


@pytest.mark.parametrize("value", FORMS.values(), ids=FORMS)
def test_base64_is_read_in_every_form_that_clients_send(desk: Desk, value: str) -> None:
    taken = desk.take(mask=value)

    assert taken[Role.MASK].told == "base64"
    assert desk.stored == [RED]


def test_all_pictures_of_a_request_are_fetched_at_the_same_time(desk: Desk) -> None:
    both = threading.Barrier(2)

    def together(body: bytes) -> Page:
        def page(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
            both.wait(WITHIN_S)
            answer(body)(handler, over)

        return page

    with running_site({"/red": together(RED), "/blue": together(BLUE)}) as site:
        taken = desk.take(init=f"{site.url}/red", control=f"{site.url}/blue", ip_adapter=TEXT)

    assert set(taken) == {"init", "control", "ip_adapter"}
    assert sorted(desk.stored) == sorted([RED, BLUE, RED])


def test_a_tenant_downloads_only_so_many_pictures_at_once_and_leaves_room_for_others(desk: Desk) -> None:
    go_on, others = threading.Event(), list[str]()

    def held(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        go_on.wait(WITHIN_S)
        answer(RED)(handler, over)

    async def crowd(url: str) -> None:
        intake = Intake(desk.settings, desk.storage)
        requests = asyncio.gather(
            *(take(intake, f"{url}/held", tenant="greedy") for _ in range(DOWNLOADS_PER_TENANT * 2))
        )
        await asyncio.wait_for(take(intake, f"{url}/red", tenant="other"), WITHIN_S)
        others.append("served")
        await asyncio.wait_for(requests, WITHIN_S)

    async def take(intake: Intake, url: str, tenant: str) -> None:
        one = {Role.INIT: GivenPicture("init_image", url)}
        await intake.take(one, tenant=tenant, file_prefix=str(uuid.uuid4()), public_url=OURS, followed=str)

    pages = {"/held": held, "/free": answer(), "/red": answer(RED)}
    with running_site(pages) as site, ThreadPoolExecutor() as pool:
        crowding = pool.submit(asyncio.run, crowd(site.url))
        wait_until(lambda: others and len(site.requests) > DOWNLOADS_PER_TENANT)
        for _ in range(DOWNLOADS_PER_TENANT):  # what was sent before these is seen before these
            httpx.get(f"{site.url}/free")
        held_at_once = sum(request.path == "/held" for request in site.requests)
        go_on.set()
        crowding.result(WITHIN_S)

    assert held_at_once == DOWNLOADS_PER_TENANT
    assert len(desk.stored) == DOWNLOADS_PER_TENANT * 2 + 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_and_no_server_learns_of_another(desk: Desk, status: int) -> None:
    pages = {
        "/old": redirect("new?x=1", status, **{"Set-Cookie": "session=secret"}),
        "/new": answer(RED, headers={"Set-Cookie": "more=secrets"}),
    }
    with running_site(pages) as site:
        taken = desk.take(init=f"{site.url}/old")

    assert desk.stored == [RED]
    assert taken[Role.INIT].told == f"{site.url}/old"
    assert [request.path for request in site.requests] == ["/old", "/new?x=1"]
    for request in site.requests:
        assert not {"cookie", "referer", "authorization"} & set(request.headers)


def test_five_redirects_are_followed_and_no_sixth(desk: Desk) -> None:
    hops = {f"/{hop}": redirect(f"/{hop + 1}") for hop in range(1, 7)}
    with running_site(hops | {"/7": answer(RED)}) as site:
        desk.take(init=f"{site.url}/2")
        desk.storage.drop_inputs(desk.prefix)
        sentence = desk.refusal(init=f"{site.url}/1")

    assert sentence == f"{UNFETCHED} (init_image): it is redirected more than 5 times"
    assert len(site.requests) == 6 + 6


PRIVATE = "must be a public address; this one is private"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        pytest.param("http://localhost:{port}/secret", PRIVATE, id="private name"),
        pytest.param("http://127.1:{port}/secret", PRIVATE, id="private address"),
        pytest.param("http://[::1]:{port}/secret", PRIVATE, id="private IPv6 address"),
        pytest.param("//169.254.169.254/latest/meta-data", PRIVATE, id="metadata"),
        pytest.param("file:///etc/passwd", "must be an http or https URL", id="file"),
        pytest.param(
            "http://me:secret@127.0.0.1/", "must not hold a user name or a password", id="credentials"
        ),
    ],
)
def test_a_redirect_to_where_nobody_may_go_is_refused(desk: Desk, location: str, reason: str) -> None:
    pages: dict[str, Page] = {}
    with running_site(pages) as site:
        pages["/"] = redirect(location.format(port=site.url.rpartition(":")[2]))
        sentence = desk.refusal(init=f"{site.url}/")

    assert sentence == f"init_image leads to an address that {reason}"
    assert [request.path for request in site.requests] == ["/"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "10.0.0.1"])
def test_a_private_address_is_refused_unless_the_operator_allows_it(tmp_path: Path, host: str) -> None:
    with running_site({"/": answer(RED)}) as site:
        url = site.url.replace("127.0.0.1", host)
        sentence = Desk(tmp_path, allow_private_hosts=()).refusal(control=f"{url}/")

    assert sentence == f"control_image {PRIVATE}"
    assert site.requests == []


LARGE = 10_000
BOMB = gzip.compress(bytes(50_000_000))
BROKEN_OFF = "its server broke off or does not speak HTTP"
HEAD = b"HTTP/1.1 200 OK\r\n"
UNUSABLE: dict[str, tuple[Page, str]] = {
    "not found": (answer(b"gone", 404), "its server answered 404"),
    "forbidden": (answer(b"<Error>", 403), "its server answered 403"),
    "redirect to nowhere": (answer(status=302), "its server answered 302"),
    "redirect to no URL": (redirect("http://[::1/"), BROKEN_OFF),
    "too large": (answer(bytes(LARGE + 1)), "it is larger than 10,000 bytes"),
    "too large and not told": (answer(bytes(LARGE + 1), told=False), "it is larger than 10,000 bytes"),
    "endless": (trickle(HEAD + b"\r\n" + bytes(LARGE + 1)), "it is larger than 10,000 bytes"),
    "gzip bomb": (
        answer(BOMB[:9_000], headers={"Content-Encoding": "gzip"}),
        "it is larger than 10,000 bytes",
    ),
    "broken gzip": (answer(RED, headers={"Content-Encoding": "gzip"}), "it can't be unpacked as gzip"),
    "gzip cut short": (
        answer(gzip.compress(RED)[:-9], headers={"Content-Encoding": "gzip"}),
        BROKEN_OFF,
    ),
    "brotli": (
        answer(RED, headers={"Content-Encoding": "br"}),
        "it comes in the content encoding 'br', which was not asked for",
    ),
    "cut short": (raw(HEAD + b"Content-Length: 99\r\n\r\nabc"), BROKEN_OFF),
    "not HTTP": (raw(b"220 smtp.example.com ESMTP\r\n"), BROKEN_OFF),
}


@pytest.mark.parametrize(("page", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cant_be_fetched_is_refused_with_the_reason(tmp_path: Path, page: Page, reason: str) -> None:
    desk = Desk(tmp_path, input_max_bytes=LARGE)
    with running_site({"/": page}) as site:
        sentence = desk.refusal(init=f"{site.url}/")

    assert sentence == f"Unable to fetch image from provided URL (init_image): {reason}"


SLOW: dict[str, Page] = {
    "never answers": silence,
    "trickles its headers": trickle(HEAD + b"X-Slow: "),
    "trickles its body": trickle(HEAD + b"Content-Length: 9000000\r\n\r\n"),
    "trickles chunks": trickle(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
}


@pytest.mark.parametrize("page", SLOW.values(), ids=SLOW)
def test_a_slow_server_holds_a_request_only_for_so_long(tmp_path: Path, page: Page) -> None:
    desk = Desk(tmp_path, input_timeout_s=0.4)
    with running_site({"/": page}) as site:
        sentence = desk.refusal(init=f"{site.url}/")

    assert sentence == f"{UNFETCHED} (init_image): it did not arrive within 0.4 s"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        pytest.param(f"http://127.0.0.1:{free_port()}/", "its server can't be reached", id="no server"),
        pytest.param("http://printworks.invalid/", "its server can't be reached", id="no such host"),
        pytest.param(
            f"http://printworks.test/{'x' * 70_000}", "it is no URL that can be fetched", id="no URL"
        ),
    ],
)
def test_a_server_that_isnt_there_is_told(desk: Desk, url: str, reason: str) -> None:
    assert desk.refusal(init=url) == f"{UNFETCHED} (init_image): {reason}"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_a_body_that_was_packed_without_being_asked_is_unpacked(
    desk: Desk, pack: Callable[[bytes], bytes]
) -> None:
    encoding = {"Content-Encoding": "gzip" if pack is gzip.compress else "deflate"}
    with running_site({"/": answer(pack(RED), headers=encoding)}) as site:
        desk.take(init=f"{site.url}/")

    assert desk.stored == [RED]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ftp://example.com/a.png", "must be an http or https URL, or a picture in base64"),
        ("example.com/a.png", "must be an http or https URL, or a picture in base64"),
        ("./a.png", "must be an http or https URL, or a picture in base64"),
        ("data:image/png,%89PNG", "must be an http or https URL, or a picture in base64"),
        ("http://exa mple.com/a.png", "must be an http or https URL"),
        ("data:image/png;base64,", "the file is empty"),
        (base64.b64encode(b"<html>").decode(), "the file is an HTML page"),
        (
            base64.b64encode(bytes(20_000_001)).decode(),
            "the file has 20,000,001 bytes; send at most 20,000,000",
        ),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_neither_a_url_nor_a_picture_is_refused_by_its_field(
    desk: Desk, value: str, words: str
) -> None:
    sentence = desk.refusal(init=value)

    assert sentence.replace(":", "").startswith(f"init_image {words}")


def test_each_wrong_picture_gets_a_sentence_and_the_good_one_is_not_stored(desk: Desk) -> None:
    page = answer(b"<!doctype html><title>Please log in</title>", headers={"Content-Type": "image/png"})
    with running_site({"/": page}) as site:
        sentence = desk.refusal(init=f"{site.url}/", mask="AAAA", control=TEXT)

    assert sentence == (
        "init_image: the file is an HTML page; send a PNG, JPEG, WebP, GIF or BMP picture, "
        "or the address of the picture itself; "
        "mask_image: the file's format can't be read; send a PNG, JPEG, WebP, GIF or BMP picture"
    )


@pytest.mark.parametrize("base", [OURS, "https://pictures.example.com"])
def test_a_file_of_ours_is_read_without_http(tmp_path: Path, base: str) -> None:
    desk = Desk(tmp_path, public_url="https://pictures.example.com/", allow_private_hosts=())
    name = make_spec(temp=True).file_names[0]
    desk.storage.write(name, RED)

    taken = desk.take(init=f"{base}/generations/{name}?download=1")

    assert desk.stored == [RED]
    assert taken[Role.INIT].told == f"{base}/generations/{name}?download=1"


def test_a_file_of_ours_in_base64_is_decoded(desk: Desk) -> None:
    name = make_spec(base64=True).file_names[0]
    desk.storage.write(name, TEXT.encode())

    desk.take(init=f"{OURS}/generations/{name}")

    assert desk.stored == [RED]


def test_a_file_of_ours_that_is_gone_is_told(desk: Desk) -> None:
    for name in (make_spec().file_names[0], "../inputs/x"):
        sentence = desk.refusal(init=f"{OURS}/generations/{name}")

        assert sentence == ("init_image: there is no such file here: it is not ready yet, or it has expired")


def test_another_path_on_our_host_is_fetched_like_any_url(desk: Desk) -> None:
    assert desk.refusal(init=f"{OURS}/logo.png") == f"{UNFETCHED} (init_image): its server can't be reached"


def test_a_full_disk_is_told_and_leaves_nothing(desk: Desk) -> None:
    (desk.folder / "inputs").rmdir()
    (desk.folder / "inputs").touch()

    with pytest.raises(StorageUnavailable, match="try again later"):
        desk.take(init=TEXT, mask=TEXT)
