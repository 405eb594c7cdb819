"""A whole installation to attack: Redis, gateways, GPU workers, a dispatcher, as `make run` starts them."""

import atexit
import contextlib
import functools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from deploy import commands
from deploy.embedded_redis import EmbeddedRedis, embedded_redis, wait_for_redis
from deploy.ports import free_port
from shared import ledger
from shared.errors import LedgerUnavailable
from shared.ledger import Ledger, worker_name
from shared.settings import Settings
from tests.chaos.members import Keeper, Member, forked, spawned
from tests.support import tiny
from tests.support.models import write_models_file
from tests.support.processes import environment_of
from tests.support.waiting import wait_until

WORKER = "worker.gpu.app"
API_KEY = "the key of the attacks"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
USUAL: dict[str, Any] = {
    "api_key": API_KEY,
    "allow_private_hosts": ("127.0.0.1",),
    "webhook_secret": WEBHOOK_SECRET,
    "webhook_schedule_s": (0.0, 1.0, 2.0, 4.0, 8.0),
    "webhook_timeout_s": 5.0,
    "deliveries_at_once": 8,
    "slots": 4,
    "cpu_threads": 1,
}


@dataclass
class Installation:
    folder: Path
    server: EmbeddedRedis
    settings: Settings
    redis: Member
    gateways: list[Member] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    """Of the gateways."""
    workers: list[Member] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    """All of them."""

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir

    @contextlib.contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Past everything that a test puts between a process and its Redis."""
        store = Ledger(self.server.url)
        yield store
        store.close()

    @contextlib.contextmanager
    def raw(self) -> Iterator[Redis]:
        with Redis.from_url(self.server.url, decode_responses=True) as client:
            yield client

    def running(self) -> int:
        """How many jobs are leased."""
        with self.raw() as raw:
            return int(raw.zcard("pw:leases"))

    def beating(self) -> set[str]:
        """Names of the workers that beat."""
        with self.ledger() as store:
            try:
                return set(store.run(ledger.stats()).workers)
            except LedgerUnavailable:
                return set()

    def wait_until_whole(self, within_s: float = 90) -> None:
        """Every gateway answers and every worker beats."""
        wait_until(lambda: all(map(_is_ready, self.urls)), within_s)
        wait_until(lambda: {worker_name(each.pid) for each in self.workers} <= self.beating(), within_s)

    def logs(self) -> str:
        """What every process has written."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))


@contextlib.contextmanager
def attacked(
    folder: Path,
    *,
    gateways: int = 1,
    ports: Sequence[int] = (),
    worker_apps: Sequence[str] = (WORKER, WORKER),
    server: EmbeddedRedis | None = None,
    first_workers_redis_url: str = "",
    **changes: Any,
) -> Iterator[Installation]:
    """One that is whole, with a worker for each of `worker_apps`; `changes` are settings. `ports`: of the
    gateways, if somebody has to know them before."""
    folder.mkdir(parents=True, exist_ok=True)
    server = server or embedded_redis(folder, free_port())
    models = write_models_file(folder / "models.yaml", models={"demo": _tiny_model()})
    common = Settings(**USUAL | {"data_dir": folder / "data", "models_file": models} | changes)
    keeper = Keeper()
    with keeper.keeping():
        redis_words = server.command.words
        store = keeper.add("redis", spawned(redis_words, {}, folder / "redis.log", server.configuration))
        wait_for_redis(server.url)
        made = Installation(
            folder, server, _with(common, redis_url=server.url), store, members=keeper.members
        )
        for index in range(gateways):
            port = ports[index] if ports else free_port()
            environment = environment_of(_with(made.settings, port=port))
            log = folder / f"gateway{index}.log"
            made.gateways.append(keeper.add(log.stem, forked(commands.gateway().words, environment, log)))
            made.urls.append(f"http://127.0.0.1:{port}")
        for index, app in enumerate(worker_apps):
            url = server.url if index else first_workers_redis_url or server.url
            settings = _with(made.settings, redis_url=url)
            made.workers.append(_worker(keeper, index, app, settings, folder))
        words = commands.dispatcher(common.deliveries_at_once).words
        start = forked(words, environment_of(made.settings), folder / "dispatcher.log")
        keeper.add("dispatcher", start)
        made.wait_until_whole()
        yield made


@functools.cache
def _tiny_model() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return tiny.save_stable_diffusion(folder / "tiny")


def _worker(keeper: Keeper, index: int, app: str, settings: Settings, folder: Path) -> Member:
    words = commands.gpu_worker(index, settings.slots, settings.pool).words
    words = tuple(app if word == WORKER else word for word in words)
    log = folder / f"worker{index}.log"
    return keeper.add(log.stem, forked(words, environment_of(settings), log))


def _with(settings: Settings, **changes: Any) -> Settings:
    return Settings(**settings.model_dump(exclude_unset=True) | changes)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
