"""Entry point of the GPU worker: `celery -A worker.gpu.app worker -P threads -c SLOTS -Q gpu`.

One process is one GPU; which one, CUDA_VISIBLE_DEVICES says.
"""

import os
import warnings
from functools import partial

import diffusers
import torch
import transformers
from celery import Celery

from shared.broker import GENERATE_TASK, Bell, make_celery
from shared.errors import GenerationFailed
from shared.ledger import Ledger, Order, worker_name
from shared.logs import configure_logging
from shared.settings import Settings
from shared.storage import FolderStorage
from worker.gpu.engine import Engine
from worker.gpu.leases import LeaseKeeper
from worker.gpu.models.library import Library
from worker.gpu.models.precision import Precision
from worker.gpu.orders import Orders
from worker.gpu.slot import Slot
from worker.gpu.studio import Studio
from worker.gpu.watchdog import Watchdog
from worker.gpu.words import Wording
from worker.process import end_process, request_end, serve


class GpuWorker:
    """The parts of one GPU worker, started together: it beats once its models are loaded."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        torch.set_num_threads(settings.cpu_threads)
        name = worker_name(os.getpid())
        store = Ledger(settings.redis_url)
        library = Library(settings, Precision.choose(settings.device, settings.dtype))
        _preload(library, settings)
        engine = Engine(
            lane_width=settings.lane_width,
            device=library.device,
            on_fatal=end_process,
            make_room=library.make_room,
        )
        orders = Orders({Order.RESTART: request_end, Order.CLEAR_CACHE: partial(_clear_cache, library)})
        self._leases = LeaseKeeper(name, settings, store, library, orders)
        wording = Wording(settings.translator, settings.prompt_writer, library.device)
        studio = Studio(library, wording, engine)
        storage = FolderStorage(settings.data_dir, settings.temp_life_s)
        self._slot = Slot(name, settings, store, storage, studio, self._leases, Bell(app))
        engine.start()
        Watchdog(engine, settings.step_timeout_s).start()
        self._leases.start()

    def run(self) -> None:
        self._slot.run()

    def drain(self) -> None:
        self._slot.drain()

    def close(self) -> None:
        self._leases.close()


def _clear_cache(library: Library) -> None:
    library.make_room()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _preload(library: Library, settings: Settings) -> None:
    """All models that there is room for; one that is broken must not keep the others from work."""
    failures = []
    for model_id in settings.models:
        try:
            library.preload(model_id)
        except GenerationFailed as exc:
            failures.append(exc)
    if len(failures) == len(settings.models):
        raise failures[0]


def make_worker_app(settings: Settings) -> Celery:
    """The Celery app whose one task does one job of the ledger."""
    app = make_celery(settings.redis_url, "printworks-gpu")
    serve(app, GENERATE_TASK, partial(GpuWorker, settings, app))
    return app


def quiet_libraries() -> None:
    """Their progress bars and advice are for people before a notebook; what matters is raised or logged."""
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()
    warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")


configure_logging("worker")
quiet_libraries()
app = make_worker_app(Settings())
