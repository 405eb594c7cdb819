"""What comes over a bare socket: requests that never end, that are none, or that are two at once."""

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hostile.judging import complaint
from tests.hostile.raw import GOOD_BODY, head, request, wired
from tests.hostile.sending import Attack, attacking
from tests.hostile.target import ROOT, STALL_S, Target, waits_of_others

STALLED = {
    "nothing": b"",
    "half a request line": b"POST /api",
    "half a head": head("Content-Length: 5")[:-2],
    "no body": head("Content-Length: 1000"),
    "half a body": head("Content-Length: 1000") + b'{"key": ',
    "no chunk": head("Transfer-Encoding: chunked"),
    "half a chunk": head("Transfer-Encoding: chunked") + b"100\r\n{",
    "a body for GET": head("Content-Length: 1000", method="GET", path="/health/live"),
    "half a request after a whole one": request() + b"POST /api",
}

MALFORMED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "two hosts": head("Host: y", method="GET"),
    "a head without a colon": head("nonsense"),
    "a folded head": head("A: b\r\n c\x00d"),
    "a null byte in a name": head("A\0: b"),
    "a blank before the colon": head("Content-Length : 5") + b"12345",
    "a long request line": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    "a long head": head("A: " + "b" * 1_000_000),
    "thousands of heads": head(*(f"A{number}: b" for number in range(100_000))),
    "a negative length": head("Content-Length: -1") + b"x",
    "a length that is none": head("Content-Length: 0x10") + b"x" * 16,
    "two lengths": head("Content-Length: 5", "Content-Length: 6") + b"123456",
    "two lengths in one": head("Content-Length: 5, 6") + b"123456",
    "a length of 100 digits": head("Content-Length: " + "9" * 100),
    "two encodings": head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "an unknown encoding": head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "a disguised encoding": head("Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "a chunk that is none": head("Transfer-Encoding: chunked") + b"zz\r\n",
    "a negative chunk": head("Transfer-Encoding: chunked") + b"-1\r\nx\r\n0\r\n\r\n",
    "a huge chunk": head("Transfer-Encoding: chunked") + b"f" * 30 + b"\r\n",
    "a chunk too short": head("Transfer-Encoding: chunked") + b"2\r\nabcd\r\n0\r\n\r\n",
    "a long chunk extension": head("Transfer-Encoding: chunked") + b"1;" + b"a" * 1_000_000 + b"\r\nx\r\n",
    "long trailers": head("Transfer-Encoding: chunked") + b"0\r\n" + b"A: b\r\n" * 20_000,
    "a broken chunk for HEAD": head("Transfer-Encoding: chunked", method="HEAD", path="/health") + b"zz\r\n",
}


def answers(raw: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers by their names in lower case, and body of each answer in what was read."""
    found = []
    while raw:
        top, _, rest = raw.partition(b"\r\n\r\n")
        line, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        length = int(headers["content-length"])
        raw = rest[length:]
        found.append((int(line.split(" ")[1]), headers, rest[:length]))
    return found


DRIPPING = {
    "head": b"POST /api",
    "body": head("Content-Length: 100000"),
    "chunk": head("Transfer-Encoding: chunked") + b"fffff\r\n",
}


@pytest.fixture(scope="module")
def let_go(target: Target) -> dict[str, tuple[bytes, float]]:
    """By the name of each that stalls: what was read until the connection ended, and after how many seconds.
    All at the same time."""

    def send(start: bytes) -> tuple[bytes, float]:
        began = time.monotonic()
        with wired(target) as wire:
            wire.send(start)
            return wire.read_all(), time.monotonic() - began

    def drip(start: bytes) -> tuple[bytes, float]:
        began, read = time.monotonic(), b""
        with wired(target) as wire:
            wire.send(start)
            wire.socket.settimeout(0.1)
            while b"}" not in read and time.monotonic() - began < 5 * STALL_S:
                wire.send(b"x")
                with contextlib.suppress(TimeoutError):
                    read += wire.socket.recv(65536)
        return read, time.monotonic() - began

    with ThreadPoolExecutor(len(STALLED) + len(DRIPPING)) as pool:
        stalled = {name: pool.submit(send, start) for name, start in STALLED.items()}
        dripping = {name: pool.submit(drip, start) for name, start in DRIPPING.items()}
        return {name: each.result() for name, each in (stalled | dripping).items()}


@pytest.mark.parametrize("name", [*STALLED, *DRIPPING])
def test_a_request_that_stalls_or_drips_is_refused_and_let_go(
    let_go: dict[str, tuple[bytes, float]], name: str
) -> None:
    read, seconds = let_go[name]

    assert 0.9 * STALL_S < seconds < 3 * STALL_S
    assert [complaint(*each, is_api=False) for each in answers(read)] == [""] * len(answers(read))
    assert b" did not arrive in time" in read or name in ("nothing", "a body for GET")


def test_hundreds_of_requests_that_do_not_go_on_keep_nobody_waiting(target: Target) -> None:
    with contextlib.ExitStack() as stack, waits_of_others(target) as waits:
        wires = [stack.enter_context(wired(target)) for _ in range(300)]
        for wire, start in zip(wires, list(STALLED.values()) * 100, strict=False):
            wire.send(start)
        for wire in wires:
            wire.read_all()

    assert max(waits) < 1.0
    target.require_health()


@pytest.mark.parametrize("garbage", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_request_is_refused_and_let_go(target: Target, garbage: bytes) -> None:
    with wired(target) as wire:
        wire.send(garbage)
        (answer,) = answers(wire.read_until(b"}" if b"HEAD" not in garbage else b"\r\n\r\n"))

    status, headers, _ = answer
    assert status == 400
    assert headers["connection"] == "close"
    assert complaint(*answer) == ("no body" if b"HEAD" in garbage else "")
    target.require_health()


def test_who_still_sends_a_head_gets_to_read_the_refusal(target: Target) -> None:
    with attacking(target) as attacker:
        answer = attacker.answer(Attack("long", "GET", "/health/live", headers={"A": "b" * 20_000_000}))

    assert answer[0] == 400
    assert complaint(*answer) == ""


def test_garbage_after_a_good_request_does_not_harm_its_answer(target: Target) -> None:
    with wired(target) as wire:
        wire.send(request() + b"garbage\r\n\r\n" + request())
        good, refused = answers(wire.read_all())

    assert json.loads(good[2])["status"] == "processing"
    assert refused[0] == 400
    target.require_health()


def test_garbage_within_a_body_that_is_refused_already_ends_the_connection(target: Target) -> None:
    too_large = head("Transfer-Encoding: chunked", path=f"{ROOT}/nothing")

    with wired(target) as wire:
        wire.send(too_large)
        wire.read_until(b"}")
        wire.send(b"garbage\r\n\r\n")
        wire.read_all()

    target.require_health()


def test_what_follows_a_request_of_two_lengths_is_not_heard(target: Target) -> None:
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD_BODY), GOOD_BODY)
    smuggling = head("Content-Length: 4", "Transfer-Encoding: chunked") + chunked

    with wired(target) as wire:
        wire.send(smuggling + request())
        read = answers(wire.read_all())

    assert [json.loads(content)["status"] for _, _, content in read] == ["processing"]
    target.require_health()


def test_many_requests_at_once_are_answered_in_their_order(target: Target) -> None:
    ids = [json.dumps({"key": "user", "request_id": number}).encode() for number in (0, "x", 2**60)]

    with wired(target) as wire:
        wire.send(b"".join(head(f"Content-Length: {len(i)}", path=f"{ROOT}/fetch") + i for i in ids) * 50)
        wire.send(head("Connection: close", "Content-Length: 0", method="GET", path="/health/live"))
        read = answers(wire.read_all())

    assert len(read) == 151
    assert [json.loads(content)["message"] for _, _, content in read[:3]] == [
        "Request not found",
        "request_id must be a whole number",
        f"request_id must be between 0 and {2**53:g}",
    ]


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "X" * 1000])
@pytest.mark.parametrize("path", ["*", "x:80", "http://[", f"{ROOT}/text2img", f"http://other{ROOT}/fetch"])
def test_other_methods_and_targets_are_answered_in_the_wires_shape(
    target: Target, method: str, path: str
) -> None:
    with wired(target) as wire:
        wire.send(head("Connection: close", method=method, path=path))
        read = answers(wire.read_all())

    assert [complaint(*each) for each in read] == [""]
    target.require_health()


def test_other_versions_of_http_are_answered_by_1_1(target: Target) -> None:
    with wired(target) as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        read = wire.read_until(b"less than 16 KB")

    assert read.startswith(b"HTTP/1.1 404")
    target.require_health()


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "nonsense"])
def test_offers_of_other_protocols_are_passed_over(target: Target, protocol: str) -> None:
    offer = (f"Upgrade: {protocol}", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")

    with wired(target) as wire:
        wire.send(head("Connection: close, Upgrade", *offer, f"Content-Length: {len(GOOD_BODY)}") + GOOD_BODY)
        (answer,) = answers(wire.read_all())

    assert json.loads(answer[2])["status"] == "processing"
    assert "Unsupported upgrade" not in target.log.read_text()


def test_a_client_that_hangs_up_troubles_nobody(target: Target) -> None:
    for start in (*STALLED.values(), request(), request() * 20):
        with wired(target) as wire:
            wire.send(start)

    target.require_health()
