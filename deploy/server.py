"""One server on this machine: its processes in the order in which they start, and the folder that it keeps.

What several of them have in common, and how long they run, is the launcher's (launcher.py).
"""

import base64
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded_redis import embedded_redis, wait_for_redis
from deploy.ports import free_port
from deploy.processes import server_processes, write_targets
from deploy.readiness import Readiness
from deploy.supervisor import Child
from shared.errors import Misconfigured
from shared.settings import Settings, host_in_url


@dataclass(frozen=True)
class Options:
    """What can be said of a server."""

    host: str
    port: int
    data_dir: Path
    api_key: str = field(repr=False)
    allow_private_hosts: str
    redis_url: str = field(repr=False)
    flower_port: int | None
    """None: without flower."""
    devices: tuple[str | None, ...] = (None,)
    """CUDA_VISIBLE_DEVICES of each GPU worker; None: as the launcher has it."""
    name: str = ""
    """Among several."""
    peers: tuple[str, ...] = ()
    """Without them it is not ready."""
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of this server alone, besides what is said above."""

    @property
    def url(self) -> str:
        return f"http://{host_in_url(self.host)}:{self.port}"

    @classmethod
    def from_environment(cls, default_folder: str) -> "Options":
        """Ports may be 0: any that is free. Raises `Misconfigured`."""

        def word(name: str, default: str) -> str:
            return os.environ.get(name) or default

        try:
            port, flower_port = int(word("PORT", "8000")), int(word("FLOWER_PORT", "0"))
        except ValueError:
            raise Misconfigured("PORT and FLOWER_PORT must be numbers.") from None
        return cls(
            host=word("HOST", "127.0.0.1"),
            port=port,
            data_dir=Path(word("DATA_DIR", default_folder)).resolve(),
            api_key=word("API_KEY", "demo"),
            allow_private_hosts=word("ALLOW_PRIVATE_HOSTS", ""),
            redis_url=word("REDIS_URL", ""),
            flower_port=flower_port or free_port(5555),
        )


class Server:
    """Its processes. Redis ends after all others."""

    def __init__(self, options: Options, tell: Callable[[str], None]) -> None:
        self.options = options
        self.redis: Child | None = None
        self.children: list[Child] = []
        self._logs = options.data_dir / "logs"
        self._starting: dict[str, Child] = {}
        self._readiness: Readiness | None = None
        self._tell_all = tell

    def start(self, give_up: Callable[[], bool]) -> None:
        """Redis first, until it answers or `give_up` says that nobody wants it any more; then all others."""
        self._logs.mkdir(parents=True, exist_ok=True)
        redis_url = self.options.redis_url or self._start_redis()
        wait_for_redis(redis_url, give_up=lambda: self._is_redis_gone() or give_up())
        if give_up():
            return
        file, given = settings_file(self.options.data_dir), given_settings(self.options, redis_url)
        settings = Settings.load(file, **given)
        environment = os.environ | {f"PRINTWORKS_{name.upper()}": value for name, value in given.items()}
        environment["PRINTWORKS_SETTINGS_FILE"] = str(file)
        options = self.options
        processes = list(server_processes(settings, options.devices, options.flower_port, environment))
        write_targets(options.data_dir / "prometheus-targets.json", processes)
        for process in processes:
            child = Child(process.command, process.environment, self._logs)
            self.children.append(child)
            child.start()
        self._starting = {child.command.name: child for child in self.children}
        flower_url = f"http://127.0.0.1:{self.options.flower_port}"
        self._readiness = Readiness(self.options.url, flower_url, redis_url)

    def lacking(self) -> list[str]:
        """What is not up yet; what has come up since this was last asked is told."""
        assert self._readiness is not None  # noqa: S101 - it was started
        for name, child in list(self._starting.items()):
            if self._readiness.is_up(name, child.process.pid):
                del self._starting[name]
                self._tell(f"{name}: up, pid {child.process.pid}{self._hint(name)}")
        lacking = list(self._starting)
        if not lacking and not self._readiness.sees(self.options.peers, self.options.api_key):
            lacking = ["peers"]
        return [f"{self.options.name} {name}".strip() for name in lacking]

    def keep_alive(self) -> None:
        for child in [*([self.redis] if self.redis else []), *self.children]:
            child.keep_alive(self._tell)

    def _is_redis_gone(self) -> bool:
        if self.redis is not None and self.redis.process.poll() is not None:
            raise Misconfigured(f"Redis has ended; its reason is in {self._logs}/redis.log.")
        return False

    def _start_redis(self) -> str:
        server = embedded_redis(self.options.data_dir, free_port())
        self.redis = Child(server.command, os.environ, self._logs, stdin=server.configuration)
        self.redis.start()
        self._tell(f"redis: {server.command.words[0]}, append-only file in {self.options.data_dir}/redis")
        return server.url

    def _hint(self, name: str) -> str:
        return f", http://127.0.0.1:{self.options.flower_port}" if name == "flower" else ""

    def _tell(self, line: str) -> None:
        self._tell_all(f"{self.options.name} {line}".strip())


def settings_file(data_dir: Path) -> Path:
    """What stands there is read anew by `update_server`; it need not exist."""
    return data_dir / "settings.env"


def given_settings(options: Options, redis_url: str) -> dict[str, str]:
    """Those that are the launcher's to say."""
    return {
        "redis_url": redis_url,
        "host": options.host,
        "port": str(options.port),
        "data_dir": str(options.data_dir),
        "api_key": options.api_key,
        "allow_private_hosts": options.allow_private_hosts,
        "webhook_secret": kept_secret(options.data_dir / "webhook-secret", "whsec_"),
        "secret_key": os.environ.get("PRINTWORKS_SECRET_KEY") or kept_secret(options.data_dir / "secret-key"),
        **options.settings,
    }


def kept_secret(path: Path, prefix: str = "") -> str:
    """Made once and kept, for the owner only: receivers go on verifying, what is sealed can be read."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(prefix + base64.b64encode(secrets.token_bytes(32)).decode())
    return path.read_text()


@contextmanager
def owned(data_dir: Path) -> Iterator[None]:
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
