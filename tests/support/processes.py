"""Real processes for tests: each on a free port, in its own session, ended and waited for."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from deploy import commands
from deploy.commands import Command
from deploy.embedded_redis import embedded_redis, wait_for_redis
from deploy.ports import free_port
from shared import ledger
from shared.ledger import Ledger, worker_name
from shared.settings import Settings
from tests.support.environment import clean_environment
from tests.support.nursery import Forked, nursery
from tests.support.waiting import wait_until


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdin: bytes = b"",
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, in this folder, while the block runs; prints its log if the block raises."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=clean_environment() | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with _ended(process, log):
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        yield process


@contextlib.contextmanager
def forked(
    command: Command, settings: Settings, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Forked]:
    """The same of one of our own commands, without its imports, which take up to seven seconds."""
    whole = environment_of(settings) | dict(environment or {})
    process = Forked(nursery().start(command.words, whole, log))
    with _ended(process, log):
        yield process


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes] | Forked, log: Path) -> Iterator[None]:
    """When the block is over."""
    try:
        yield
    except BaseException:
        print(f"--- {log}\n{log.read_text()[-6000:]}", file=sys.stderr)
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@contextlib.contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """A throw-away server of the kind that `make run` uses; yields its URL."""
    server = embedded_redis(folder, free_port())
    with running(server.command.words, folder / "redis.log", stdin=server.configuration):
        wait_for_redis(server.url)
        yield server.url


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings as the processes read them."""
    variables = {}
    for name, value in settings.model_dump(mode="json", exclude_unset=True).items():
        if isinstance(secret := getattr(settings, name), SecretStr):
            value = secret.get_secret_value()
        if isinstance(value, list):
            value = ",".join(map(str, value))
        if name == "peers":
            secrets = {peer: settings.peers[peer].key.get_secret_value() for peer in settings.peers}
            value = json.dumps({peer: {**value[peer], "key": key} for peer, key in secrets.items()})
        variables[f"PRINTWORKS_{name.upper()}"] = "" if value is None else str(value)
    return variables


@contextlib.contextmanager
def running_gateway(settings: Settings, log: Path, **environment: str) -> Iterator[str]:
    """A real gateway; yields its URL."""
    with forked(commands.gateway(), settings, log, environment):
        url = f"http://127.0.0.1:{settings.port}"
        wait_until(lambda: _accepts(settings.port), within_s=60)
        yield url


@contextlib.contextmanager
def running_worker(settings: Settings, log: Path, **environment: str) -> Iterator[Forked]:
    """A real GPU worker that beats."""
    with forked(commands.gpu_worker(0, settings.slots, settings.pool), settings, log, environment) as process:
        store = Ledger(settings.redis_url)
        name = worker_name(process.pid)
        wait_until(lambda: name in store.run(ledger.stats()).workers, within_s=90)
        store.close()
        yield process


@contextlib.contextmanager
def running_dispatcher(settings: Settings, log: Path, **environment: str) -> Iterator[Forked]:
    with forked(commands.dispatcher(settings.deliveries_at_once), settings, log, environment) as process:
        wait_until(lambda: b"ready." in log.read_bytes(), within_s=60)
        yield process


@dataclass(frozen=True)
class LocalCluster:
    """A running cluster; `launcher` is the process that was started, make or Python."""

    url: str
    launcher: subprocess.Popen[bytes]
    data_dir: Path

    def processes(self) -> list[psutil.Process]:
        """All that the launcher has started."""
        return psutil.Process(self.launcher.pid).children(recursive=True)

    def process(self, words: str) -> psutil.Process:
        """The one process whose command line holds `words`."""
        found = [child for child in self.processes() if words in " ".join(child.cmdline())]
        assert len(found) == 1, f"{words}: {found}"
        return found[0]


@contextlib.contextmanager
def running_cluster(
    data_dir: Path, *, by_make: bool = False, servers: int = 1, **variables: str
) -> Iterator[LocalCluster]:
    """`make run`, or `make run-cluster` for several servers, or what they run, on free ports and ready;
    `variables` are its environment."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "launcher.log"
    target, module = ("run", "local") if servers == 1 else ("run-cluster", "local_cluster")
    environment = {
        "PORT": "0",
        "DATA_DIR": str(data_dir),
        "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
        "FLOWER_PORT": str(free_port()),
        "SERVERS": str(servers),
        **variables,
    }
    seen = len(log.read_text()) if log.exists() else 0
    command = ["make", target] if by_make else [sys.executable, "-m", f"deploy.{module}"]
    with running(command, log, environment=environment) as launcher:
        url = wait_until(lambda: _ready(log.read_text()[seen:]) or launcher.poll() is not None, within_s=120)
        assert isinstance(url, str), "the launcher has ended"
        yield LocalCluster(url, launcher, data_dir)
        launcher.send_signal(signal.SIGTERM)
        launcher.wait(20)


def require_that_nothing_outlives_make(cluster: LocalCluster, how: signal.Signals) -> None:
    """When it is ended in this way."""
    processes = cluster.processes()
    assert len(processes) >= 6

    cluster.launcher.send_signal(how)

    assert not psutil.wait_procs(processes, timeout=15)[1]


def _ready(said: str) -> str | None:
    found = re.search(r"^ready (\S+)\n", said, re.MULTILINE)
    return found[1] if found else None


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
