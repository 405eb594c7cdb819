"""What many may take at once: large bodies of unknown senders, and places to wait for pictures."""

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import requests
from pydantic import SecretStr

from shared.settings import Settings
from tests.hostile.corpus import MB
from tests.hostile.judging import complaint
from tests.hostile.raw import Wire, head, wired
from tests.hostile.sending import Attack, attacking
from tests.hostile.target import GOOD, ROOT, STALL_S, USER, Target, running_target, waits_of_others
from tests.support.metrics import scraped
from tests.support.waiting import wait_until

KB = 1024
LARGEST, SMALL = MB, 63 * KB
WAITING = 2
Send = Callable[[str, bytes], bytes]


@pytest.fixture
def narrow(settings: Settings, tmp_path: Path) -> Iterator[Target]:
    """It has room for one large body of people it does not know, and for two who wait."""
    changes = {"max_body_bytes": LARGEST, "bodies_at_once": 1, "max_waiting": WAITING, "api_key": USER}
    settings = Settings(**(settings.model_dump() | changes))
    with running_target(settings, tmp_path / "gateway.log") as target:
        yield target


def by_httpx(url: str, body: bytes) -> bytes:
    return httpx.post(url, content=body, timeout=30).content


def by_httpx_in_chunks(url: str, body: bytes) -> bytes:
    pieces = (body[start : start + MB] for start in range(0, len(body), MB))
    return httpx.post(url, content=pieces, timeout=30).content


def by_requests(url: str, body: bytes) -> bytes:
    return requests.post(url, data=body, timeout=30).content


def by_requests_once(url: str, body: bytes) -> bytes:
    return requests.post(url, data=body, headers={"Connection": "close"}, timeout=30).content


def by_the_standard_library(url: str, body: bytes) -> bytes:
    with urllib.request.urlopen(url, body, timeout=30) as answer:  # noqa: S310 - our own
        content: bytes = answer.read()
    return content


def by_curl(url: str, body: bytes) -> bytes:
    """It asks whether it may send so much, and does not if it may not."""
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--data-binary", "@-", url]
    return subprocess.run(command, input=body, capture_output=True, check=True).stdout


def by_curl_as_of_old(url: str, body: bytes) -> bytes:
    command = ["curl", "--http1.0", "--silent", "--max-time", "30", "--data-binary", "@-", url]
    return subprocess.run(command, input=body, capture_output=True, check=True).stdout


CLIENTS = (
    *(by_httpx, by_httpx_in_chunks, by_requests, by_requests_once),
    *(by_the_standard_library, by_curl, by_curl_as_of_old),
)


@pytest.mark.parametrize("path", [f"{ROOT}/text2img", f"{ROOT}/nothing"], ids=["an endpoint", "none"])
@pytest.mark.parametrize("send", CLIENTS, ids=lambda send: send.__name__)
def test_who_sends_too_much_gets_to_read_the_refusal(target: Target, send: Send, path: str) -> None:
    content = send(target.url + path, b" " * (50 * MB))

    said = json.loads(content)
    assert said["status"] == "error"
    assert ("too large" if "text2img" in path else "no endpoint") in said["message"]
    target.require_health()


@pytest.mark.parametrize("path", [f"{ROOT}/text2img", "/health/live"])
def test_what_is_announced_too_large_is_refused_before_it_comes(target: Target, path: str) -> None:
    began = time.monotonic()

    with wired(target) as wire:
        wire.send(head(f"Content-Length: {50 * MB}", path=path))
        wire.read_until(b"}")

    assert time.monotonic() - began < STALL_S / 2


def test_who_never_ends_sending_is_not_listened_to_for_ever(target: Target) -> None:
    with wired(target) as wire:
        wire.send(head("Transfer-Encoding: chunked", path="/nothing"))
        wire.read_until(b"}")
        wire.send(b"1\r\nx\r\n")
        assert wire.read_all() == b""

    target.require_health()


def test_many_large_bodies_of_unknown_senders_take_no_more_memory_than_they_may(target: Target) -> None:
    body = b'{"key": "nobody", "init_image": "' + b"A" * (30 * MB) + b'"}'
    attack = Attack("large", "POST", f"{ROOT}/img2img", body)

    with attacking(target) as attacker, ThreadPoolExecutor(48) as pool, waits_of_others(target) as waits:
        answers = list(pool.map(attacker.answer, [attack] * 48))

    assert {json.loads(content)["code"] for _, _, content in answers} <= {"invalid_api_key", "overloaded"}
    assert max(waits) < 2.0
    target.require_health()


def test_a_large_body_is_refused_while_others_fill_the_room_and_small_ones_are_not(narrow: Target) -> None:
    with httpx.Client(base_url=narrow.url, timeout=20) as client, contextlib.ExitStack() as stack:
        holder = stack.enter_context(wired(narrow))
        holder.send(head(f"Content-Length: {LARGEST}") + b" " * (LARGEST - 1))

        refused = wait_until(lambda: as_refused(client))
        small = client.post(f"{ROOT}/text2img", json=GOOD | {"unknown": "x" * SMALL})
        holder.socket.close()
        wait_until(lambda: as_refused(client) is None)

    assert small.json()["status"] == "processing"
    assert refused.headers["retry-after"] == str(refused.json()["retry_after"])
    assert refused.json()["code"] == "overloaded"
    assert complaint(refused.status_code, refused.headers, refused.content) == ""
    narrow.require_health()


def as_refused(client: httpx.Client) -> httpx.Response | None:
    """The answer to a large body, if that was that there is no room for it."""
    body = json.dumps(GOOD | {"unknown": "x" * (SMALL + KB)})
    answer = client.post(f"{ROOT}/text2img", content=body)
    return answer if answer.status_code == 429 else None


def test_what_comes_without_its_length_is_refused_once_there_is_no_room(narrow: Target) -> None:
    def is_refused() -> bool:
        with wired(narrow) as holder, wired(narrow) as wire:
            holder.send(head(f"Content-Length: {LARGEST}") + b" " * (LARGEST - 1))
            return as_refused_in_chunks(wire) or as_refused_in_chunks(wire)

    wait_until(is_refused, within_s=30)


def as_refused_in_chunks(wire: Wire) -> bool:
    size = 128 * 1024
    wire.send(head("Transfer-Encoding: chunked") + b"%x\r\n" % size + b" " * size + b"\r\n0\r\n\r\n")
    return b"429 Too Many Requests" in wire.read_until(b"}")


def test_requests_beyond_those_that_may_wait_are_answered_processing_at_once(narrow: Target) -> None:
    patient = GOOD | {"instant_response": "no"}
    with httpx.Client(base_url=narrow.url, timeout=40) as client, ThreadPoolExecutor(WAITING) as pool:
        waiting = [pool.submit(client.post, f"{ROOT}/text2img", json=patient) for _ in range(WAITING)]
        wait_until(lambda: open_jobs(client) == WAITING)

        beyond = client.post(f"{ROOT}/text2img", json=patient).json()
        still_waiting = [each for each in waiting if not each.done()]
        for job_id in range(1, WAITING + 2):
            client.post(f"{ROOT}/cancel/{job_id}", json={"key": USER})

        assert beyond["status"] == "processing"
        assert still_waiting == waiting
        assert [each.result().json()["status"] for each in waiting] == ["failed"] * WAITING


def test_who_waits_for_pictures_is_not_taken_for_one_who_stalls(settings: Settings, tmp_path: Path) -> None:
    settings = settings.model_copy(
        update={"request_stall_s": 0.5, "sync_wait_s": 1.5, "api_key": SecretStr(USER)}
    )
    with running_target(settings, tmp_path / "log") as target, httpx.Client(base_url=target.url) as client:
        answers = [client.post(f"{ROOT}/text2img", json=GOOD | {"instant_response": "no"}) for _ in range(2)]

    assert [each.json()["status"] for each in answers] == ["processing"] * 2


def open_jobs(client: httpx.Client) -> int:
    return int(scraped(str(client.base_url)).total("printworks_jobs", state="queued"))
