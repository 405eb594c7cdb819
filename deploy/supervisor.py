"""Runs the processes of one machine: starts them, restarts what dies, ends all of them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.commands import Command

FIRST_RESTART_S = 0.5
LONGEST_RESTART_S = 10.0
STEADY_S = 30.0
"""A process that lived this long starts over with the first delay."""
POLL_S = 0.1


class Child:
    """One process that is kept alive. Its output goes to a file in `logs`; to the launcher's own without."""

    def __init__(
        self, command: Command, environment: Mapping[str, str], logs: Path | None, *, stdin: bytes = b""
    ) -> None:
        self.command = command
        self._environment = dict(environment)
        self._log = logs / f"{command.name}.log" if logs else None
        self._stdin = stdin
        self._delay_s = FIRST_RESTART_S
        self._died_young = 0
        self._started = 0.0
        self._restart_at: float | None = None
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        """In a session of its own, so that a Ctrl-C at the terminal reaches only the launcher."""
        tether = [sys.executable, "-m", "deploy.tether", str(os.getpid())]
        with self._log.open("ab") if self._log else contextlib.nullcontext() as log:
            self.process = subprocess.Popen(
                [*tether, *self.command.words],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=True,
            )
        assert self.process.stdin is not None  # noqa: S101 - we asked for a pipe
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(self._stdin)
            self.process.stdin.close()
        self._started = time.monotonic()
        self._restart_at = None

    def keep_alive(self, report: Callable[[str], None]) -> None:
        """Restart it if it has died, later each time it dies young."""
        now = time.monotonic()
        if self._restart_at is not None:
            if now >= self._restart_at:
                self.start()
                report(f"{self.command.name}: restarted, pid {self.process.pid}")
        elif (status := self.process.poll()) is not None:
            if now - self._started > STEADY_S:
                self._delay_s, self._died_young = FIRST_RESTART_S, 0
            self._died_young += 1
            report(f"{self.command.name}: ended with {self._how(status)}")
            self._restart_at = now + self._delay_s
            self._delay_s = min(self._delay_s * 2, LONGEST_RESTART_S)

    def end(self, how: signal.Signals) -> None:
        """Signal the whole session, so that helpers a process has started end with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, how)

    def _how(self, status: int) -> str:
        times = f" {self._died_young} times in a row" if self._died_young > 1 else ""
        log = f" (log: {self._log})" if self._log else ""
        return f"status {status}{times}, restarting in {self._delay_s:g} s{log}"


def end_all(children: Sequence[Child], within_s: float, at_once: Callable[[], bool]) -> None:
    """SIGTERM to all, SIGKILL to those that are left when the time is over or `at_once` says so."""
    deadline = time.monotonic() + within_s
    for child in children:
        child.end(signal.SIGTERM)
    while (left := [child for child in children if child.process.poll() is None]) and not at_once():
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    for child in left:
        child.end(signal.SIGKILL)
        child.process.wait()
