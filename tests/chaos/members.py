"""The processes of an installation: each can be killed, frozen and ended, and is started again."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from tests.support.environment import clean_environment
from tests.support.nursery import nursery

LOOK_EVERY_S = 0.05

Start = Callable[[], int]
"""Starts a process in a session of its own; tells its id."""


@dataclass
class Member:
    """One process, and those that came in its place."""

    name: str
    start: Start
    pid: int = 0
    deaths: int = 0
    wanted: bool = True
    """Start it again when it is gone."""

    def is_alive(self) -> bool:
        return _is_alive(self.pid)

    def kill(self) -> int:
        """kill -9, of what it has started too; the id that it had."""
        pid = self.pid
        self.signal(signal.SIGKILL)
        return pid

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


@dataclass
class Keeper:
    """Starts again what is gone, at once, from a thread of its own."""

    members: list[Member] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, start: Start) -> Member:
        member = Member(name, start, start())
        self.members.append(member)
        return member

    def run(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            for member in self.members:
                if member.wanted and not member.is_alive():
                    member.deaths += 1
                    member.pid = member.start()

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run, name="keeper", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            for member in self.members:
                member.kill()
            _wait_until_gone([member.pid for member in self.members])


def spawned(words: Sequence[str], environment: Mapping[str, str], log: Path, stdin: bytes = b"") -> Start:
    """A way to start this command."""

    def start() -> int:
        with log.open("ab") as output:
            process = subprocess.Popen(
                list(words),
                env=clean_environment() | dict(environment),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(stdin)
            process.stdin.close()
        threading.Thread(
            target=process.wait, daemon=True
        ).start()  # so that nothing is left of it when it ends
        return process.pid

    return start


def forked(words: Sequence[str], environment: Mapping[str, str], log: Path) -> Start:
    """A way to start this command, which is one of ours, without its imports."""
    return partial(nursery().start, words, environment, log)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_until_gone(pids: Sequence[int]) -> None:
    deadline = time.monotonic() + 10
    while any(map(_is_alive, pids)):
        assert time.monotonic() < deadline, "a process can't be killed"
        time.sleep(LOOK_EVERY_S)
