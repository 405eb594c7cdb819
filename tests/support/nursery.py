"""Processes of ours that are forked from one which has done their imports (see forking.py)."""

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.support.environment import clean_environment
from tests.support.waiting import wait_until


class Nursery:
    """Where they come from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forking"],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._said()  # it is ready

    def start(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Starts this command, which is one of `python -m`, in a session of its own; tells its id."""
        python, dash_m, module, *rest = words
        assert (python, dash_m) == (sys.executable, "-m")
        whole = clean_environment() | dict(environment)
        pid = self._ask(module=module, words=rest, environment=whole, log=str(log))
        assert isinstance(pid, int)
        return pid

    def exit_code(self, pid: int) -> int | None:
        """Of a process that has ended."""
        code = self._ask(ended=pid)
        assert code is None or isinstance(code, int)
        return code

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, **order: Any) -> object:
        with self._lock:
            self._pipe(self._process.stdin).write(json.dumps(order) + "\n")
            self._pipe(self._process.stdin).flush()
            return self._said()

    def _said(self) -> object:
        line = self._pipe(self._process.stdout).readline()
        assert line, "the nursery has ended"
        said: object = json.loads(line)
        return said

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


@functools.cache
def nursery() -> Nursery:
    """One for all tests of this process: its imports take longer than all the rest of a start."""
    made = Nursery()
    atexit.register(made.close)
    return made


@dataclass(frozen=True)
class Forked:
    """A process of the nursery."""

    pid: int

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def wait(self, within_s: float) -> int:
        """Its exit code, when it has ended."""

        def code() -> tuple[int] | None:
            found = nursery().exit_code(self.pid)
            return None if found is None else (found,)

        return wait_until(code, within_s)[0]
