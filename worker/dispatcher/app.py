"""Entry point of the dispatcher: `celery -A worker.dispatcher.app worker -P threads -c N -Q webhooks`."""

from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_shutdown

from shared.broker import DELIVER_TASK, Bell, make_celery
from shared.ledger import Ledger
from shared.logs import configure_logging
from shared.settings import Settings
from shared.sweeper import Sweeper
from worker.dispatcher.sender import Sender


class Dispatcher:
    """The parts of one dispatcher, started together."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        store, bell = Ledger(settings.redis_url), Bell(app)
        self.sender = Sender(settings, store, bell)
        self._sweeper = Sweeper(settings, store, bell)
        self._sweeper.start()

    def close(self) -> None:
        self._sweeper.close()


def make_dispatcher_app(settings: Settings) -> Celery:
    """The Celery app whose one task sends one delivery of the outbox."""
    app = make_celery(settings.redis_url, "printworks-dispatcher")
    dispatchers: list[Dispatcher] = []

    def start(**_: Any) -> None:
        dispatchers.append(Dispatcher(settings, app))

    def stop(**_: Any) -> None:
        dispatchers[0].close()

    def keep_our_logging(**_: Any) -> None:
        """Connected so that Celery does not set up its own."""

    def deliver() -> None:
        dispatchers[0].sender.run()

    worker_init.connect(start, weak=False)
    worker_shutdown.connect(stop, weak=False)
    setup_logging.connect(keep_our_logging, weak=False)
    app.task(deliver, name=DELIVER_TASK)
    return app


configure_logging("dispatcher")
app = make_dispatcher_app(Settings())
