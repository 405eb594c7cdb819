"""The clients: a stream of jobs, each sent under an Idempotency-Key until a gateway says yes.

Notes what they were told on the way.
"""

import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.installation import API_KEY, Installation
from tests.support.receiver import Receiver

ROOT = "/api/v1/enterprise"
LONGEST_ANSWER_S = 15.0
"""A client that waits for longer than that calls it a hang."""
RETRY_S = 0.1

Fields = Callable[[int], dict[str, Any]]
"""What the job of this number asks for."""


def _quiet_client() -> httpx.Client:
    # an idle connection is left before the gateway closes it, else a request may meet its end
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2.0)
    return httpx.Client(timeout=LONGEST_ANSWER_S, trust_env=False, limits=limits)


@dataclass
class Traffic:
    """What was sent and what came back. Safe to share between threads."""

    installation: Installation
    receiver: Receiver
    fields: Fields = lambda _: {}
    most_open: int = 40
    """Jobs that wait or run at a time: the clients send no faster than these are done."""
    accepted: dict[str, int] = field(default_factory=dict)
    """Idempotency-Key → job id."""
    refused: int = 0
    """Times that a client was told to come back later."""
    broken: int = 0
    """Connections that ended without an answer."""
    wrong: list[str] = field(default_factory=list)
    """Answers that no client should ever see."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _client: httpx.Client = field(default_factory=_quiet_client)

    def wait_for_room(self) -> None:
        while len(self.accepted) - len(self.receiver.requests) >= self.most_open:
            time.sleep(RETRY_S / 10)

    def send(self, number: int) -> None:
        """One job, until it is accepted."""
        key = str(uuid.uuid4())
        for attempt in itertools.count():
            if self.send_once(number, key, attempt):
                return
            time.sleep(RETRY_S)

    def send_once(self, number: int, key: str, attempt: int = 0) -> bool:
        """Whether it was accepted. Each attempt goes to another gateway."""
        urls = self.installation.urls
        said = self._post(urls[(number + attempt) % len(urls)], key, number)
        if said is not None:
            with self._lock:
                self.accepted[key] = said["id"]
        return said is not None

    def require_refusal(self) -> None:
        """While nothing can be accepted a client hears so, and nothing of that request is done later."""
        assert not self.send_once(0, str(uuid.uuid4())), "accepted although Redis is away"

    def close(self) -> None:
        self._client.close()

    def _post(self, url: str, key: str, number: int) -> dict[str, Any] | None:
        body = {
            **{"key": API_KEY, "model_id": "demo", "prompt": "x", "width": 64, "height": 64},
            **{"num_inference_steps": 4, "safety_checker": "no", "instant_response": "yes"},
            **{"webhook": self.receiver.url, "track_id": key, **self.fields(number)},
        }
        try:
            answer = self._client.post(f"{url}{ROOT}/text2img", json=body, headers={"Idempotency-Key": key})
        except httpx.TimeoutException:
            self._note_wrong(f"no answer within {LONGEST_ANSWER_S} s")
            return None
        except httpx.HTTPError:
            with self._lock:
                self.broken += 1
            return None
        return self._judged(answer)

    def _judged(self, answer: httpx.Response) -> dict[str, Any] | None:
        said: dict[str, Any] = {}
        with contextlib.suppress(ValueError):
            said = answer.json()
        if answer.status_code == httpx.codes.OK and said.get("status") in ("processing", "success"):
            return said
        is_full = answer.status_code == httpx.codes.TOO_MANY_REQUESTS
        if is_full and not said.get("message", "").startswith("Rate limit exceeded."):
            self._note_wrong(f"not the documented refusal: {said}")
        is_later = answer.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
        if is_later and "Retry-After" in answer.headers and len(str(said.get("message", "")).split()) > 3:
            with self._lock:
                self.refused += 1
        else:
            self._note_wrong(f"{answer.status_code}: {answer.text[:300]}")
        return None

    def _note_wrong(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)


@contextlib.contextmanager
def streaming(traffic: Traffic, jobs: int, clients: int = 8) -> Iterator[None]:
    """Jobs are sent while the block runs, and at least so many, until all are accepted."""
    numbers, over = itertools.count(), threading.Event()

    def client() -> None:
        while (number := next(numbers)) < jobs or not over.is_set():
            traffic.wait_for_room()
            traffic.send(number)

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
    for thread in threads:
        thread.join(180)
        assert not thread.is_alive(), f"not accepted within three minutes: {traffic}"
