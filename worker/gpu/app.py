"""Entry point of the GPU worker: `celery -A worker.gpu.app worker -P threads -c SLOTS -Q gpu.POOL`.

One process is one GPU; which one, CUDA_VISIBLE_DEVICES says.
"""

import logging
import os
import time
import warnings
from functools import partial

import diffusers
import torch
import transformers
from celery import Celery

from shared.broker import GENERATE_TASK, Bell, make_celery
from shared.errors import GenerationFailed, LedgerUnavailable
from shared.ledger import Ledger, worker_name
from shared.logs import configure_logging
from shared.monitoring import Monitored
from shared.registry import Snapshot
from shared.registry.reading import Registry
from shared.sealing import Sealer
from shared.seeding import seed_registry
from shared.settings import Settings
from shared.storage import IN_BACKGROUND, FolderStorage, S3Storages, Spool, Stores, Uploader
from shared.tracing import configure_tracing
from worker.gpu.attending import Attendant
from worker.gpu.device_memory import DeviceMemory
from worker.gpu.engine import Engine
from worker.gpu.installing import Installer
from worker.gpu.leases import LeaseKeeper
from worker.gpu.loader import Loader
from worker.gpu.making import Making
from worker.gpu.metrics import GpuMetrics
from worker.gpu.models.library import Library
from worker.gpu.models.precision import Precision
from worker.gpu.models.registered import Files, RegisteredModels
from worker.gpu.orders import Orders
from worker.gpu.slot import Slot
from worker.gpu.studio import Studio
from worker.gpu.watchdog import Watchdog
from worker.process import end_process, request_end, serve
from worker.task_events import TaskEvents

logger = logging.getLogger(__name__)

RETRY_S = 1.0
THREADS = ("engine", "watchdog", "leases", "loader", "upload")
"""A worker without one of them must be started anew."""


class GpuWorker:
    """The parts of one GPU worker, started together: it beats once its models are loaded."""

    def __init__(self, settings: Settings, app: Celery, monitored: Monitored, node: str) -> None:
        self._settings = settings
        self._end_tracing = configure_tracing("worker")
        metrics = GpuMetrics(monitored.registry, settings)
        torch.set_num_threads(settings.cpu_threads)
        name, bell = worker_name(os.getpid()), Bell(app)
        store, sealer = Ledger(settings.redis_url), Sealer(settings)
        installer = Installer(settings, sealer)
        registry = Registry(store)
        models = RegisteredModels(registry, Files(installer))
        precision = Precision.choose(settings.device, settings.dtype)
        library = Library(settings, precision, models, metrics.shelf)
        known = _first_look(registry)  # before anything is read that an update could change
        if known.is_empty:  # else gateways keep it up to date
            seed_registry(store, settings)
        _preload(library, settings)
        engine = Engine(
            lane_width=settings.lane_width,
            device=library.device,
            on_fatal=end_process,
            make_room=library.make_room,
            observer=metrics.engine,
        )
        orders = Orders(known.updates, clear_cache=partial(_clear_cache, library), restart=request_end)
        self._leases = LeaseKeeper(name, settings, store, library, orders)
        storage = FolderStorage(settings.data_dir, settings.temp_life_s)
        self._events = TaskEvents(app, GENERATE_TASK, node)
        attendant = Attendant(store, bell, self._leases, storage.drop_inputs, metrics.jobs, self._events)
        spool = Spool(settings.data_dir / "spool")
        stores = Stores(storage, spool, sealer, settings.allow_private_hosts)
        buckets = S3Storages(sealer, settings.temp_life_s, settings.allow_private_hosts, IN_BACKGROUND)
        self._uploader = Uploader(spool, buckets.open)
        metrics.count_spooled(lambda: self._uploader.waiting)
        studio = Studio(library, engine)
        making = Making(settings, studio, models, inputs=storage, stores=stores, metrics=metrics.jobs)
        self._slot = Slot(
            name, settings, store, making=making, leases=self._leases, bell=bell, attendant=attendant
        )
        self._loader = Loader(name, settings, store, registry, installer, library, attendant)
        self._device_memory = DeviceMemory(library, metrics.memory)
        self._device_memory.start()
        engine.start()
        Watchdog(engine, settings.step_timeout_s).start()
        self._leases.start()
        self._loader.start()
        self._uploader.start()
        monitored.health.expect(THREADS, self._obstacle)

    def run(self) -> None:
        self._slot.run()

    def drain(self) -> None:
        self._loader.drain()
        self._slot.drain()

    def close(self) -> None:
        self._loader.close()
        self._uploader.close()
        self._leases.close()
        self._events.close()
        self._device_memory.close()
        self._end_tracing()

    def _obstacle(self) -> str | None:
        """Why it would do no work."""
        silent_s = self._leases.silent_s
        if silent_s is None:
            return "It has not told the ledger that it is there."
        if silent_s > self._settings.lease_s:
            return f"The ledger has heard nothing of it for {silent_s:.0f} s."
        return None


def _first_look(registry: Registry) -> Snapshot:
    """However long Redis is away: who starts workers would only start them more and more slowly."""
    while True:
        try:
            return registry.look()
        except LedgerUnavailable:
            logger.warning("waiting for the ledger")
            time.sleep(RETRY_S)


def _clear_cache(library: Library) -> None:
    library.make_room()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _preload(library: Library, settings: Settings) -> None:
    """Those checkpoints that there is room for; one that is broken must not keep the others from work, nor
    those that were loaded by the API keep a better one from being loaded."""
    wanted = settings.preload or settings.serves
    entries = [each for each in library.checkpoints() if not wanted or each.model_id in wanted]
    failures = []
    for entry in entries:
        try:
            library.preload(entry.model_id)
        except GenerationFailed as exc:
            failures.append(exc)
    if failures and len(failures) == len(entries) and not any(entry.recipe for entry in entries):
        raise failures[0]


def make_worker_app(settings: Settings) -> Celery:
    """The Celery app whose one task does one job of the ledger."""
    app = make_celery(settings.redis_url, "printworks-gpu")
    monitored = Monitored("gpu-worker")
    serve(app, GENERATE_TASK, settings, monitored, partial(GpuWorker, settings, app, monitored))
    return app


def quiet_libraries() -> None:
    """Their progress bars and advice are for people before a notebook; what matters is raised or logged."""
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.disable_progress_bar()
        library.set_verbosity_error()
        library.disable_default_handler()  # ours writes their errors, one object a line
        library.enable_propagation()
    warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")


configure_logging("worker")
quiet_libraries()
app = make_worker_app(Settings.load())
