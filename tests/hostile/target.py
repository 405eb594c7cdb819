"""The gateway that is attacked, and whether it is well."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from deploy import commands
from shared.settings import Settings
from tests.support.processes import environment_of, running
from tests.support.waiting import wait_until

ADMIN, USER, EXPIRED = "secret-of-the-tests", "user", "expired"
STALL_S = 2.0
ROOT = "/api/v1/enterprise"
MOST_MEMORY = 1024**3
"""The gateway takes 120 MB by itself; bodies whose senders are unknown may take 256 MB, and as much again or
more while they are put together and read."""
GOOD = {"key": USER, "model_id": "demo", "prompt": "a red circle", "instant_response": "yes"}
TROUBLE = ("unexpected error", "Traceback", "Exception", "never awaited", "never retrieved")


@dataclass(frozen=True)
class Target:
    url: str
    port: int
    process: psutil.Process
    log: Path

    def memory(self) -> int:
        """The most bytes that it ever held, or where that is not told, those that it holds."""
        with contextlib.suppress(FileNotFoundError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return int(self.process.memory_info().rss)

    def answered(self) -> int:
        """Requests so far."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(
            int(float(line.split()[-1])) for line in lines if line.startswith("printworks_requests_total")
        )

    def troubles(self) -> list[str]:
        """Lines of its log that nobody should ever see."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line[:500] for line in lines if any(word in line for word in TROUBLE)]

    def require_health(self) -> None:
        """It serves at once, holds little, and nothing that it did not foresee has happened."""
        with httpx.Client(base_url=self.url, timeout=5) as client:
            assert client.get("/health/ready").json()["status"] == "ok"
            assert client.post(f"{ROOT}/text2img", json=GOOD).json()["status"] == "processing"
        assert self.memory() < MOST_MEMORY
        assert not self.troubles()


@contextlib.contextmanager
def waits_of_others(target: Target) -> Iterator[list[float]]:
    """For how long somebody else waits for answers while the block runs, in seconds, once after another."""
    waits: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=target.url, timeout=30) as client:
            while not over.is_set():
                began = time.monotonic()
                client.get("/health/ready").raise_for_status()
                waits.append(time.monotonic() - began)
                over.wait(0.02)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        wait_until(lambda: waits)
        try:
            yield waits
        finally:
            over.set()
            asking.result()


@contextlib.contextmanager
def running_target(settings: Settings, log: Path) -> Iterator[Target]:
    url = f"http://127.0.0.1:{settings.port}"
    # not forked: its memory is measured
    with running(commands.gateway().words, log, environment=environment_of(settings)) as process:
        wait_until(lambda: _is_ready(url), within_s=60)
        yield Target(url, settings.port, psutil.Process(process.pid), log)


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/health/ready").is_success
    return False
