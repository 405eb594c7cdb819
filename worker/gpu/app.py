"""Entry point of the GPU worker: `celery -A worker.gpu.app worker -P threads -c SLOTS -Q gpu`.

One process is one GPU; which one, CUDA_VISIBLE_DEVICES says.
"""

import logging
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_shutdown, worker_shutting_down

from shared.broker import GENERATE_TASK, Bell, make_celery
from shared.ledger import Ledger, worker_name
from shared.logs import configure_logging
from shared.settings import Settings
from shared.storage import FolderStorage
from worker.gpu.engine import Engine
from worker.gpu.leases import LeaseKeeper
from worker.gpu.models import ModelCache
from worker.gpu.slot import Slot
from worker.gpu.watchdog import Watchdog, end_process

logger = logging.getLogger(__name__)


class Worker:
    """The parts of one GPU worker, started together."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        name = worker_name(os.getpid())
        store = Ledger(settings.redis_url)
        models = ModelCache(settings.models, settings.device)
        for model_id in settings.models:
            models.get(model_id)
        engine = Engine(lane_width=settings.lane_width, on_fatal=end_process)
        self._leases = LeaseKeeper(name, settings, store, models)
        storage = FolderStorage(settings.data_dir)
        self.slot = Slot(name, settings, store, storage, models, engine, self._leases, Bell(app))
        engine.start()
        Watchdog(engine, settings.step_timeout_s).start()
        self._leases.start()

    def close(self) -> None:
        self._leases.close()


def make_worker_app(settings: Settings) -> Celery:
    """The Celery app whose one task does one job of the ledger."""
    app = make_celery(settings.redis_url, "printworks-gpu")
    workers: list[Worker] = []

    def start(**_: Any) -> None:
        try:
            workers.append(Worker(settings, app))
        except Exception as exc:  # Celery would log it and go on without us
            logger.exception("the worker can't start")
            end_process(exc)

    def drain(**_: Any) -> None:
        workers[0].slot.drain()

    def stop(**_: Any) -> None:
        workers[0].close()

    def keep_our_logging(**_: Any) -> None:
        """Connected so that Celery does not set up its own."""

    def generate() -> None:
        workers[0].slot.run()

    worker_init.connect(start, weak=False)
    worker_shutting_down.connect(drain, weak=False)
    worker_shutdown.connect(stop, weak=False)
    setup_logging.connect(keep_our_logging, weak=False)
    app.task(generate, name=GENERATE_TASK)
    return app


configure_logging("worker")
app = make_worker_app(Settings())
