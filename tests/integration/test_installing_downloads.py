"""Models by URL: fetched whole or not at all, going on where a connection or a process broke off."""

import contextlib
import hashlib
import logging
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from deploy.ports import free_port
from shared.errors import Cancelled, GenerationFailed
from shared.jobs.load import LoadSpec
from shared.logs import CHATTY
from shared.registry import ModelKind
from tests.support import tiny
from tests.support.environment import clean_environment
from tests.support.installing import Workshop, from_path, from_url
from tests.support.model_files import FilePage, save_checkpoint
from tests.support.site import Page, answer, raw, redirect, running_site, silence
from tests.support.waiting import wait_until
from worker.gpu.installing import Effort

LORA = ModelKind.LORA
SECRET = "a-very-secret-token"


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """300 kB, so that it comes in several pieces."""
    file = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    weights = {f"{layer}.lora_A.weight": torch.randn(48, 768), f"{layer}.lora_B.weight": torch.randn(768, 48)}
    save_file(weights, file)
    return file.read_bytes()


def test_a_file_is_kept_as_it_came_and_told_with_its_digest(workshop: Workshop, lora: bytes) -> None:
    effort = Effort()
    with running_site({"/files/my%20lora.safetensors": FilePage(lora)}) as site:
        spec = from_url(LORA, f"{site.url}/files/my%20lora.safetensors", rank=3)
        entry = workshop.install(spec, effort)

    assert workshop.files == [
        entry.entry_id,
        f"{entry.entry_id}/entry.json",
        f"{entry.entry_id}/my-lora.safetensors",
    ]
    assert workshop.installer.place_of(entry).read_bytes() == lora
    assert entry.sha256 == hashlib.sha256(lora).hexdigest()
    assert (entry.bytes, entry.family, entry.format, entry.revision) == (
        len(lora),
        "sd1",
        "safetensors",
        "fp32",
    )
    assert (entry.entry_id, entry.source, entry.rank) == (spec.file_prefix, spec.source.shown, 3)
    assert effort.progress == 1.0


def test_what_is_installed_is_not_fetched_again_and_can_be_removed(workshop: Workshop, lora: bytes) -> None:
    with running_site({"/lora": FilePage(lora)}) as site:
        spec = from_url(LORA, f"{site.url}/lora")
        first, second = workshop.install(spec), workshop.install(spec)
        workshop.installer.remove(first.entry_id)
        workshop.installer.remove(first.entry_id)

    assert first == second
    assert len(site.requests) == 1
    assert workshop.files == []


def sealed(workshop: Workshop, url: str) -> LoadSpec:
    """As admission makes it of a URL with a query."""
    shown = url.partition("?")[0]
    return from_url(LORA, shown, sealed=workshop.sealer.seal(url))


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All lines that a process would write, and more."""
    caplog.set_level(logging.DEBUG)
    for name in CHATTY:
        caplog.set_level(logging.WARNING, name)
    return caplog


def test_a_redirect_to_a_store_is_followed_and_the_secrets_in_both_urls_are_told_to_nobody(
    workshop: Workshop, lora: bytes, logged: pytest.LogCaptureFixture
) -> None:
    store = FilePage(lora, name="style of the sea.safetensors")
    pages: dict[str, Page] = {}
    with running_site({"/store": store}) as there, running_site(pages) as site:
        pages["/models/7"] = redirect(f"{there.url}/store?signature={SECRET}", 307)
        entry = workshop.install(sealed(workshop, f"{site.url}/models/7?token={SECRET}"))

    assert site.requests[0].path == f"/models/7?token={SECRET}"
    assert entry.path == "style-of-the-sea.safetensors"
    assert SECRET not in logged.text + entry.model_dump_json()
    assert SECRET not in "".join(path.read_text(errors="replace") for path in workshop.models.rglob("*.json"))


FAILING: dict[str, Page] = {
    "not found": answer(status=404),
    "no login": answer(b"<html>", 401),
    "redirect to a private address": redirect(f"http://10.1.2.3/file?signature={SECRET}"),
    "redirect for ever": redirect(f"/file?signature={SECRET}"),
    "redirect to no URL": redirect(f"http://[::1/?{SECRET}"),
    "no model": answer(b"\xff" * 100),
}


@pytest.mark.parametrize("page", FAILING.values(), ids=FAILING)
def test_a_failure_tells_no_secret_either(
    workshop: Workshop, page: Page, logged: pytest.LogCaptureFixture
) -> None:
    with running_site({"/file": page}) as site:
        sentence = workshop.refusal(sealed(workshop, f"{site.url}/file?token={SECRET}"))

    assert SECRET not in sentence + logged.text


def test_a_secret_that_cant_be_opened_any_more_is_told(workshop: Workshop, tmp_path: Path) -> None:
    spec = sealed(workshop, f"http://example.com/file?token={SECRET}")

    sentence = Workshop(tmp_path, secret_key="another").refusal(spec)

    assert sentence.startswith("A stored secret can't be opened")


def test_a_broken_connection_is_taken_up_where_it_broke(workshop: Workshop, lora: bytes) -> None:
    page = FilePage(lora, breaks=[1000, 50_000, 1])
    with running_site({"/lora": page}) as site:
        place = workshop.place(from_url(LORA, f"{site.url}/lora"))

    assert place.read_bytes() == lora
    assert page.ranges == ["", "bytes=1000-", "bytes=51000-", "bytes=51001-"]
    assert sum(page.sent) == len(lora)


RESTARTED = {
    "that knows no ranges": {"knows_ranges": False},
    "that does not tell whether the file changed": {"etag": ""},
    "whose tag is weak": {"etag": 'W/"x"'},
}


@pytest.mark.parametrize("options", RESTARTED.values(), ids=RESTARTED)
def test_a_server_is_asked_for_the_whole_file_again(
    workshop: Workshop, lora: bytes, options: dict[str, object]
) -> None:
    page = FilePage(lora, breaks=[1000], **options)  # type: ignore[arg-type]
    with running_site({"/lora": page}) as site:
        place = workshop.place(from_url(LORA, f"{site.url}/lora"))

    assert place.read_bytes() == lora
    assert page.sent == [1000, len(lora)]


def test_a_server_that_is_busy_for_a_moment_is_asked_again(workshop: Workshop, lora: bytes) -> None:
    page, busy = FilePage(lora, breaks=[1000]), [answer(status=503), answer(status=429)]

    def moody(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        (busy.pop() if page.sent and busy else page)(handler, over)

    with running_site({"/lora": moody}) as site:
        place = workshop.place(from_url(LORA, f"{site.url}/lora"))

    assert place.read_bytes() == lora
    assert len(site.requests) == 4


def test_a_file_that_changed_meanwhile_is_fetched_anew(workshop: Workshop, lora: bytes) -> None:
    old, new = FilePage(b"x" * len(lora), breaks=[70_000]), FilePage(lora)
    pages = {"/lora": lambda handler, over: (old if not old.sent else new)(handler, over)}
    with running_site(pages) as site:
        place = workshop.place(from_url(LORA, f"{site.url}/lora"))

    assert place.read_bytes() == lora
    assert new.ranges == ["bytes=70000-"]


INSTALL = """
import sys
from pathlib import Path
from shared.jobs.load import LoadSpec
from tests.support.installing import Workshop
Workshop(Path(sys.argv[1])).install(LoadSpec.model_validate_json(sys.argv[2]))
"""


def test_a_killed_process_leaves_what_it_fetched_to_the_next_one(
    workshop: Workshop, tmp_path: Path, lora: bytes
) -> None:
    page, fetched = FilePage(lora, holds_after=200_000), 200_000
    with running_site({"/lora": page}) as site:
        spec = from_url(LORA, f"{site.url}/lora")
        command = [sys.executable, "-c", INSTALL, str(tmp_path), spec.model_dump_json()]
        with subprocess.Popen(command, env=clean_environment()) as doomed:
            part = workshop.models / f".installing-{spec.file_prefix}" / "fetched" / "file.part"
            wait_until(lambda: part.exists() and part.stat().st_size > 0.9 * fetched, within_s=60)
            doomed.send_signal(signal.SIGKILL)
        left = part.stat().st_size
        page.go_on.set()
        page.holds_after = None
        served = len(page.sent)
        place = workshop.place(spec)

    assert place.read_bytes() == lora
    assert page.sent[served:] == [len(lora) - left]
    assert [name for name in workshop.files if name.startswith(".")] == []


def test_a_cancelled_installation_ends_soon_and_leaves_nothing(workshop: Workshop, lora: bytes) -> None:
    effort = Effort()
    with running_site({"/lora": FilePage(lora, holds_after=100_000)}) as site:
        spec = from_url(LORA, f"{site.url}/lora")
        with ended(workshop, spec, effort) as outcome:
            wait_until(lambda: effort.progress > 0)
            began = time.monotonic()
            effort.cancel()

    assert isinstance(outcome[0], Cancelled)
    assert time.monotonic() - began < 2
    assert workshop.files == []


def test_an_installation_that_is_given_back_leaves_what_it_fetched(workshop: Workshop, lora: bytes) -> None:
    effort, page = Effort(), FilePage(lora, holds_after=100_000)
    with running_site({"/lora": page}) as site:
        spec = from_url(LORA, f"{site.url}/lora")
        with ended(workshop, spec, effort):
            wait_until(lambda: effort.progress > 0)
            effort.cancel(keeping_files=True)
        page.holds_after = None
        place = workshop.place(spec)

    assert place.read_bytes() == lora
    assert page.ranges[-1].startswith("bytes=")


@contextlib.contextmanager
def ended(workshop: Workshop, spec: LoadSpec, effort: Effort) -> Iterator[list[BaseException]]:
    """Installs beside the block, and waits for the end."""
    outcome: list[BaseException] = []

    def install() -> None:
        try:
            workshop.install(spec, effort)
        except GenerationFailed as exc:
            outcome.append(exc)

    thread = threading.Thread(target=install)
    thread.start()
    try:
        yield outcome
    finally:
        thread.join(30)
    assert not thread.is_alive()


def test_two_attempts_at_one_model_do_not_disturb_each_other(workshop: Workshop, lora: bytes) -> None:
    page = FilePage(lora, holds_after=100_000)
    with running_site({"/lora": page}) as site:
        spec = from_url(LORA, f"{site.url}/lora")
        with ended(workshop, spec, Effort()) as first, ended(workshop, spec, Effort()) as second:
            wait_until(lambda: page.sent)
            page.go_on.set()

    assert first == second == []
    assert len(site.requests) == 1
    assert workshop.place(spec).read_bytes() == lora


PRIVATE = "must be a public address; this one is private"
REFUSED: dict[str, tuple[Page, str]] = {
    "not found": (answer(status=404), "its server answered 404"),
    "no login": (answer(status=401), "its server answered 401"),
    "out of order": (answer(status=503), "its server answered 503"),
    "a page": (
        answer(b"<!DOCTYPE html><html><title>Log in</title>", headers={"Content-Type": "text/html"}),
        "it is a web page and no model: send the link that downloads the file itself, with a token in it if "
        "the site wants a login",
    ),
    "a message": (
        answer(b'{"error": "Unauthorized"}'),
        "its server sent a message in JSON and no model: send the link that downloads the file itself",
    ),
    "too large": (FilePage(b"x" * 5000, holds_after=1), "it is larger than 4,000 bytes"),
    "too large, untold": (answer(b"x" * 5000, told=False), "it is larger than 4,000 bytes"),
    "redirect to a private address": (
        redirect("http://10.0.0.1/lora"),
        f"its address leads to an address that {PRIVATE}",
    ),
    "redirect to a file": (
        redirect("file:///etc/passwd"),
        "its address leads to an address that must be an http or https URL",
    ),
    "redirects": (redirect("/"), "it is redirected more than 5 times"),
    "packed": (
        answer(b"x", headers={"Content-Encoding": "gzip"}),
        "it comes in the content encoding 'gzip', which was not asked for",
    ),
    "silent": (silence, "nothing of it came for 0.5 s"),
    "silent after a while": (FilePage(b"x" * 3000, holds_after=1000), "nothing of it came for 0.5 s"),
}


@pytest.mark.parametrize(("page", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cant_be_fetched_is_told_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, page: Page, reason: str
) -> None:
    workshop = Workshop(tmp_path, model_max_bytes=4000, model_stall_s=0.5)
    with running_site({"/": page}) as site:
        sentence = workshop.refusal(from_url(LORA, f"{site.url}/"))

    assert sentence == f"{reason}."


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]"])
def test_a_private_address_is_refused(tmp_path: Path, host: str) -> None:
    workshop = Workshop(tmp_path, allow_private_hosts=())

    sentence = workshop.refusal(from_url(LORA, f"http://{host}:{free_port()}/lora"))

    assert sentence == f"its address {PRIVATE}."


def test_a_server_that_is_not_there_is_told_at_once(workshop: Workshop) -> None:
    began = time.monotonic()

    sentence = workshop.refusal(from_url(LORA, f"http://127.0.0.1:{free_port()}/lora"))

    assert time.monotonic() - began < workshop.settings.model_stall_s / 2
    assert sentence == "its server can't be reached."


def test_what_was_left_unfinished_goes_in_time_and_what_is_being_made_stays(
    workshop: Workshop, lora: bytes
) -> None:
    page = FilePage(lora, holds_after=1000)
    with running_site({"/lora": page}) as site, ThreadPoolExecutor() as pool:
        spec = from_url(ModelKind.LORA, f"{site.url}/lora")
        effort = Effort()
        installing = pool.submit(workshop.install, spec, effort)
        wait_until(lambda: page.sent and page.sent[0] >= 1000)

        workshop.installer.remove(spec.file_prefix)
        workshop.installer.remove_abandoned(-1)
        assert any(name.startswith(".installing-") for name in workshop.files)
        effort.cancel(keeping_files=True)
        with pytest.raises(Cancelled):
            installing.result(10)
        workshop.installer.remove_abandoned(3600)
        assert any(name.startswith(".installing-") for name in workshop.files)
        workshop.installer.remove_abandoned(-1)

    assert workshop.files == []


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Nothing longer than 100 kB can be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


FULL = "the server's disk for models is full: ask the operator for room, or delete models that are not used."


def test_a_full_disk_is_told_and_left_as_it_was(workshop: Workshop, lora: bytes) -> None:
    with running_site({"/lora": FilePage(lora)}) as site, full_disk():
        sentence = workshop.refusal(from_url(LORA, f"{site.url}/lora"))

    assert sentence == FULL


def test_so_is_one_that_gets_full_when_a_checkpoint_is_converted(workshop: Workshop) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(workshop.models / "described", safe_serialization=True)
    save_checkpoint(pipeline, workshop.models / "sd1.safetensors")

    with full_disk():
        sentence = workshop.refusal(from_path(ModelKind.CHECKPOINT, "sd1.safetensors", config="described"))

    assert sentence == FULL


def test_a_model_that_has_no_room_is_not_even_begun(tmp_path: Path) -> None:
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: " + str(10**17).encode() + b"\r\n\r\n"
    workshop = Workshop(tmp_path, model_max_bytes=10**18)

    with running_site({"/lora": raw(huge)}) as site:
        sentence = workshop.refusal(from_url(LORA, f"{site.url}/lora"))

    assert sentence.startswith("the server's disk for models is full")


def test_the_models_folder_may_be_new(tmp_path: Path, lora: bytes) -> None:
    workshop = Workshop(tmp_path, models_dir=tmp_path / "elsewhere" / "models")
    (tmp_path / "elsewhere" / "models").rmdir()
    with running_site({"/lora": FilePage(lora)}) as site:
        place = workshop.place(from_url(LORA, f"{site.url}/lora"))

    assert load_file(place).keys()
