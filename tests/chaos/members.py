"""The processes of an installation: each can be killed, frozen and ended, and is started again."""

import atexit
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from tests.support.processes import clean_environment

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


class Nursery:
    """Where processes of ours come from (see nursery.py)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery"],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._said()  # it is ready

    def forked(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> Start:
        """A way to start this command, which is one of `python -m`."""
        python, dash_m, module, *rest = words
        assert (python, dash_m) == (sys.executable, "-m")
        order = {
            "module": module,
            "words": rest,
            "environment": clean_environment() | dict(environment),
            "log": str(log),
        }

        def start() -> int:
            with self._lock:
                self._pipe(self._process.stdin).write(json.dumps(order) + "\n")
                self._pipe(self._process.stdin).flush()
                return int(self._said())

        return start

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _said(self) -> str:
        line = self._pipe(self._process.stdout).readline()
        assert line, "the nursery has ended"
        return line

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


@functools.cache
def nursery() -> Nursery:
    """One for all installations of this process: its imports take longer than all the rest of a start."""
    made = Nursery()
    atexit.register(made.close)
    return made


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
