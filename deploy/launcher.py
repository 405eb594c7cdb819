"""Runs servers on this machine from their start to their end: one for `make run`, several for `make
run-cluster`."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.ports import require_port
from deploy.server import Options, Server, given_settings, settings_file
from deploy.stopping import Stopping, explaining
from deploy.supervisor import POLL_S, Child, end_all
from deploy.tether import end_with_parent
from shared.api_keys import KeyRing
from shared.errors import Misconfigured
from shared.registry.file import read_models
from shared.settings import Settings

START_S = 300.0
LAST_STEP_S = 3.0
"""What workers may take beyond `drain_s`: somebody waits at the terminal."""
REDIS_STOP_S = 2.0

console = Console(stderr=True, highlight=False)


@contextmanager
def launching() -> Iterator[None]:
    """A launcher ends when what has started it does, and with one sentence if it was told to do what can't be
    done."""
    end_with_parent(os.getppid(), signal.SIGTERM)
    with explaining(_tell):
        yield


def launch(servers: Sequence[Options]) -> None:
    """Until SIGINT or SIGTERM; clients ask the first. The caller owns their folders.

    Raises `Misconfigured`.
    """
    stop_s = 0.0
    for options in servers:
        settings = Settings.load(settings_file(options.data_dir), **given_settings(options, "redis://unused"))
        settings.require_serviceable()
        read_models(settings.models_file)
        KeyRing.from_settings(settings)
        require_port(options.host, options.port)
        stop_s = max(stop_s, settings.drain_s + LAST_STEP_S)
    _Launcher([Server(options, _tell) for options in servers], stop_s).run()


class _Launcher:
    """Keeps all processes alive that it has started."""

    def __init__(self, servers: Sequence[Server], stop_s: float) -> None:
        self._servers = servers
        self._stop_s = stop_s
        self._stopping = Stopping()

    def run(self) -> None:
        """Start everything, say so, keep it alive until SIGINT or SIGTERM."""
        try:
            self._start()
            if not self._stopping.wanted:
                self._say_ready()
            while not self._stopping.wanted:
                self._keep_alive()
        finally:
            _tell("stopping")
            self._end([child for server in self._servers for child in server.children], self._stop_s)
            self._end([server.redis for server in self._servers if server.redis], REDIS_STOP_S)

    def _end(self, children: Sequence[Child], within_s: float) -> None:
        end_all(children, within_s, lambda: self._stopping.at_once)

    def _start(self) -> None:
        for server in self._servers:
            server.start(lambda: self._stopping.wanted)
            if self._stopping.wanted:
                return
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        """A line per component as it comes up, and a bar meanwhile: a worker loads its models first."""
        deadline = time.monotonic() + START_S
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as bar:
            total = sum(len(server.children) for server in self._servers)
            task = bar.add_task("starting", total=total)
            while not self._stopping.wanted:
                lacking = [name for server in self._servers for name in server.lacking()]
                if not lacking:
                    return
                bar.update(
                    task, completed=total - len(lacking), description=f"waiting for {', '.join(lacking)}"
                )
                if time.monotonic() > deadline:
                    folders = ", ".join(f"{server.options.data_dir}/logs" for server in self._servers)
                    raise Misconfigured(f"Not ready in {START_S:.0f} s; see the logs in {folders}.")
                self._keep_alive()

    def _say_ready(self) -> None:
        first, *others = (server.options for server in self._servers)
        for other in others:
            _tell(f"{other.name}: {other.url}")
        sys.stdout.write(f"ready {first.url}\n")
        sys.stdout.flush()

    def _keep_alive(self) -> None:
        for server in self._servers:
            server.keep_alive()
        time.sleep(POLL_S)


def _tell(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)
