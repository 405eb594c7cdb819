"""Children of a launcher: how they are kept alive, and how they end."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.commands import Command
from deploy.stopping import REPEATED_S
from deploy.supervisor import Child, end_all
from tests.support.processes import running
from tests.support.waiting import wait_until

STUBBORN = ("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
"""Does not hear SIGTERM."""
LAUNCHER = f"""
import os, time
from deploy.commands import Command
from deploy.stopping import Stopping
from deploy.supervisor import Child, end_all
stopping = Stopping()
child = Child(Command("stubborn", {STUBBORN!r}), os.environ, None)
child.start()
while not stopping.wanted:
    time.sleep(0.02)
print("stopping", flush=True)
end_all([child], 600, lambda: stopping.at_once)
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts one with these words, and sees to its end."""
    children = []

    def start(*words: str) -> Child:
        children.append(Child(Command("child", words), {"PATH": "/usr/bin:/bin"}, tmp_path))
        children[-1].start()
        return children[-1]

    yield start
    for each in children:
        each.end(signal.SIGKILL)
        each.process.wait()


def test_a_child_that_dies_young_is_started_again_ever_later_and_that_is_told(
    child: Callable[..., Child], tmp_path: Path
) -> None:
    dying, told = child("sh", "-c", "exit 70"), list[str]()
    began = time.monotonic()

    def thrice() -> bool:
        dying.keep_alive(told.append)
        return len([line for line in told if "ended" in line]) == 3

    wait_until(thrice)

    log = tmp_path / "child.log"
    assert [line for line in told if "ended" in line] == [
        f"child: ended with status 70, restarting in 0.5 s (log: {log})",
        f"child: ended with status 70 2 times in a row, restarting in 1 s (log: {log})",
        f"child: ended with status 70 3 times in a row, restarting in 2 s (log: {log})",
    ]
    assert time.monotonic() - began > 1.5


def test_what_does_not_end_in_time_is_killed(child: Callable[..., Child], tmp_path: Path) -> None:
    stubborn, meek = child(*STUBBORN), child("sleep", "600")
    wait_until(lambda: "deaf" in (tmp_path / "child.log").read_text())
    began = time.monotonic()

    end_all([stubborn, meek], 0.5, lambda: False)

    assert (stubborn.process.poll(), meek.process.poll()) == (-signal.SIGKILL, -signal.SIGTERM)
    assert time.monotonic() - began < 5


def test_a_second_signal_ends_all_at_once_but_not_one_that_was_only_passed_on_twice(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running([sys.executable, "-c", LAUNCHER], log) as launcher:
        wait_until(lambda: log.exists() and "deaf" in log.read_text())
        (stubborn,) = psutil.Process(launcher.pid).children()
        began = time.monotonic()
        launcher.send_signal(signal.SIGINT)
        launcher.send_signal(signal.SIGTERM)

        with pytest.raises(subprocess.TimeoutExpired):
            launcher.wait(REPEATED_S)
        launcher.send_signal(signal.SIGTERM)

        launcher.wait(5)
        assert time.monotonic() - began > REPEATED_S
        assert not stubborn.is_running()
