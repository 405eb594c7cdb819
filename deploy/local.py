"""A whole cluster on this machine: `make run`. Prints `ready http://HOST:PORT` when a request would succeed.

Options are environment variables: HOST, PORT, DATA_DIR, API_KEY, ALLOW_PRIVATE_HOSTS, REDIS_URL, FLOWER_PORT.
Any other PRINTWORKS_ setting that is in the environment goes to the processes as it is.
"""

import base64
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deploy import commands
from deploy.embedded_redis import embedded_redis, wait_for_redis
from deploy.ports import free_port, require_port
from deploy.readiness import Readiness
from deploy.supervisor import Child, end_all
from deploy.tether import end_with_parent
from shared.api_keys import KeyRing
from shared.errors import Misconfigured
from shared.registry.file import read_models
from shared.settings import Settings, host_in_url

EXIT_MISCONFIGURED = 2
START_S = 300.0
STOP_S = 11.0
REDIS_STOP_S = 2.0
POLL_S = 0.1

console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Options:
    """What the person who types `make run` can say."""

    host: str
    port: int
    data_dir: Path
    api_key: str
    allow_private_hosts: str
    redis_url: str
    flower_port: int

    @property
    def url(self) -> str:
        return f"http://{host_in_url(self.host)}:{self.port}"

    @classmethod
    def from_environment(cls) -> "Options":
        def word(name: str, default: str) -> str:
            return os.environ.get(name) or default

        try:
            port, flower_port = int(word("PORT", "8000")), int(word("FLOWER_PORT", "0"))
        except ValueError:
            raise Misconfigured("PORT and FLOWER_PORT must be numbers.") from None
        return cls(
            host=word("HOST", "127.0.0.1"),
            port=port or free_port(),
            data_dir=Path(word("DATA_DIR", "./data")).resolve(),
            api_key=word("API_KEY", "demo"),
            allow_private_hosts=word("ALLOW_PRIVATE_HOSTS", ""),
            redis_url=word("REDIS_URL", ""),
            flower_port=flower_port or free_port(5555),
        )


class Cluster:
    """The processes of one machine, in the order in which they start."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._logs = options.data_dir / "logs"
        self._redis: Child | None = None
        self._children: list[Child] = []
        self._stopping = False

    def run(self) -> None:
        """Start everything, say so, keep it alive until SIGINT or SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        try:
            self._start()
            if not self._stopping:
                sys.stdout.write(f"ready {self._options.url}\n")
                sys.stdout.flush()
            while not self._stopping:
                self._keep_alive()
        finally:
            self._report("stopping")
            end_all(self._children, STOP_S)
            if self._redis:
                end_all([self._redis], REDIS_STOP_S)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        redis_url = self._options.redis_url or self._start_redis()
        wait_for_redis(redis_url, give_up=self._is_hopeless)
        if self._is_hopeless():
            return
        given = _settings(self._options, redis_url)
        settings = Settings.load(settings_file(self._options.data_dir), **given)
        environment = os.environ | {f"PRINTWORKS_{name.upper()}": value for name, value in given.items()}
        environment["PRINTWORKS_SETTINGS_FILE"] = str(settings_file(self._options.data_dir))
        for command, extra in _processes(settings, self._options.flower_port):
            child = Child(command, environment | extra, self._logs)
            self._children.append(child)
            child.start()
        flower_url = f"http://127.0.0.1:{self._options.flower_port}"
        self._wait_until_ready(Readiness(self._options.url, flower_url, redis_url))

    def _is_hopeless(self) -> bool:
        """Whether there is no sense in waiting for Redis any longer."""
        if self._redis is not None and self._redis.process.poll() is not None:
            raise Misconfigured(f"Redis has ended; its reason is in {self._logs}/redis.log.")
        return self._stopping

    def _start_redis(self) -> str:
        server = embedded_redis(self._options.data_dir, free_port())
        self._redis = Child(server.command, os.environ, self._logs, stdin=server.configuration)
        self._redis.start()
        self._report(f"redis: {server.command.words[0]}, append-only file in {self._options.data_dir}/redis")
        return server.url

    def _wait_until_ready(self, readiness: Readiness) -> None:
        """A line per component as it comes up, and a bar meanwhile: a worker loads its models first."""
        deadline = time.monotonic() + START_S
        waiting = {child.command.name: child for child in self._children}
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as bar:
            task = bar.add_task("starting", total=len(waiting))
            while waiting and not self._stopping:
                up = [name for name, child in waiting.items() if readiness.is_up(name, child.process.pid)]
                for name in up:
                    self._report(f"{name}: up, pid {waiting.pop(name).process.pid}{self._hint(name)}")
                    bar.advance(task)
                bar.update(task, description=f"waiting for {', '.join(waiting)}")
                if time.monotonic() > deadline:
                    raise Misconfigured(f"Not ready in {START_S:.0f} s; see the logs in {self._logs}.")
                self._keep_alive()

    def _hint(self, name: str) -> str:
        return f", http://127.0.0.1:{self._options.flower_port}" if name == "flower" else ""

    def _report(self, line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    def _keep_alive(self) -> None:
        for child in [*([self._redis] if self._redis else []), *self._children]:
            child.keep_alive(self._report)
        time.sleep(POLL_S)


def settings_file(data_dir: Path) -> Path:
    """What stands there is read anew by `update_server`; it need not exist."""
    return data_dir / "settings.env"


def _settings(options: Options, redis_url: str) -> dict[str, str]:
    return {
        "redis_url": redis_url,
        "host": options.host,
        "port": str(options.port),
        "data_dir": str(options.data_dir),
        "api_key": options.api_key,
        "allow_private_hosts": options.allow_private_hosts,
        "webhook_secret": _kept_secret(options.data_dir / "webhook-secret", "whsec_"),
        "secret_key": os.environ.get("PRINTWORKS_SECRET_KEY")
        or _kept_secret(options.data_dir / "secret-key"),
    }


def _processes(settings: Settings, flower_port: int) -> Iterator[tuple[commands.Command, dict[str, str]]]:
    yield commands.gateway(), {}
    yield commands.dispatcher(settings.deliveries_at_once), {}
    yield commands.flower("127.0.0.1", flower_port), {"FLOWER_UNAUTHENTICATED_API": "true"}
    gpus = _gpus()
    for index in range(max(1, len(gpus))):
        pin = {"CUDA_VISIBLE_DEVICES": gpus[index]} if gpus else {}
        yield commands.gpu_worker(index, settings.slots), pin


def _gpus() -> list[str]:
    """The GPUs that this launcher may use, by the ids that CUDA_VISIBLE_DEVICES takes."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu]
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    return listed.stdout.split() if listed.returncode == 0 else []


def _kept_secret(path: Path, prefix: str = "") -> str:
    """Made once and kept, for the owner only: receivers go on verifying, what is sealed can be read."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(prefix + base64.b64encode(secrets.token_bytes(32)).decode())
    return path.read_text()


@contextmanager
def _own(data_dir: Path) -> Iterator[None]:
    """One launcher per folder: two would write one append-only file."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("w")
    except OSError as exc:
        raise Misconfigured(f"DATA_DIR {data_dir} can't be written: {exc.strerror}.") from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Misconfigured(f"Another cluster is using DATA_DIR {data_dir}: choose another.") from None
        yield


def main() -> None:
    end_with_parent(os.getppid(), signal.SIGTERM)
    try:
        options = Options.from_environment()
        with _own(options.data_dir):
            settings = Settings.load(settings_file(options.data_dir), **_settings(options, "redis://unused"))
            settings.require_serviceable()
            read_models(settings.models_file)
            KeyRing.from_settings(settings)
            require_port(options.host, options.port)
            Cluster(options).run()
    except Misconfigured as exc:
        console.print(exc.detail, soft_wrap=True, markup=False)
        sys.exit(EXIT_MISCONFIGURED)


if __name__ == "__main__":
    main()
