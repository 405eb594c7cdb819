"""Webhook receivers that are down, slow, rude or gone: in the end everybody has heard."""

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from shared import ledger
from tests.chaos.installation import API_KEY, Installation, attacked
from tests.chaos.reckoning import Report, reckon
from tests.chaos.traffic import ROOT, Traffic, streaming
from tests.support.receiver import Receiver
from tests.support.serving import Handler, serving
from tests.support.waiting import wait_until

MOODS = ("well", "down", "slow", "busy", "gone", "moved", "rude", "talkative")
"""Of the receivers. All but the first, the slow and the talkative take no delivery at first."""
SLOW_S = 2.0
TALK_BYTES = 10_000_000


@contextlib.contextmanager
def running_moody_receivers(mended: threading.Event) -> Iterator[tuple[Receiver, tuple[str, ...]]]:
    """A server for each mood, because deliveries wait by host and port. Yields what they have taken,
    which counts as told, and their URLs."""
    taken, told = Receiver(url=""), Counter[str]()
    with contextlib.ExitStack() as stack:
        handlers = [_handler(mood, taken, told, mended) for mood in MOODS]
        yield taken, tuple(stack.enter_context(serving(handler)) for handler in handlers)


def _handler(mood: str, taken: Receiver, told: Counter[str], mended: threading.Event) -> type[Handler]:
    class Moody(Handler):
        def do_POST(self) -> None:  # noqa: N802 - the library's name
            request = self.received(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            message = request.headers["webhook-id"]
            told[message] += 1
            is_first = told[message] == 1
            with contextlib.suppress(OSError):
                if mood == "gone" and not mended.is_set():
                    self._say(410)
                elif mood == "rude" and is_first:
                    self.connection.close()
                elif is_first and mood in FIRST:
                    self._say(FIRST[mood])
                else:
                    time.sleep(SLOW_S if mood == "slow" else 0)
                    taken.note(request)
                    self._say(200, TALK_BYTES if mood == "talkative" else 0)

        def _say(self, status: int, length: int = 0) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.send_header("Retry-After", "2")
            self.send_header("Location", "http://127.0.0.1/elsewhere")
            self.end_headers()
            self.wfile.write(b"x" * length)

    return Moody


FIRST = {"down": 500, "busy": 429, "moved": 302}
"""What a receiver says to the first attempt."""


def moody_receivers(folder: Path, *, jobs: int) -> Report:
    """Deliveries that are given up are replayed when their receiver is there again."""
    mended = threading.Event()
    with attacked(folder) as installation, running_moody_receivers(mended) as (taken, urls):
        turns = itertools.cycle(urls)

        def fields(_: int) -> dict[str, Any]:
            return {"webhook": f"{next(turns)}/hook"}

        traffic = Traffic(installation, taken, fields, most_open=jobs)
        with streaming(traffic, jobs):
            pass
        wait_until(lambda: _left(installation) == 0, within_s=120)
        dead = _dead(installation)
        assert dead == jobs // len(MOODS), f"{dead} deliveries were given up"
        mended.set()
        said = httpx.post(
            f"{installation.urls[0]}{ROOT}/replay", json={"key": API_KEY}, trust_env=False
        ).json()
        assert said["status"] == "success", said
        wait_until(lambda: _dead(installation) == 0, within_s=60)
        return reckon("moody receivers", traffic)


def _left(installation: Installation) -> int:
    with installation.ledger() as store:
        stats = store.run(ledger.stats())
        return stats.queued + stats.running + stats.deliveries_waiting


def _dead(installation: Installation) -> int:
    with installation.ledger() as store:
        return store.run(ledger.stats()).deliveries_dead
