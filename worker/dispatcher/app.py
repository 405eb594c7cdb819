"""Entry point of the dispatcher: `celery -A worker.dispatcher.app worker -P threads -c N -Q webhooks`."""

from functools import partial

from celery import Celery

from shared.broker import DELIVER_TASK, Bell, make_celery
from shared.ledger import Ledger
from shared.logs import configure_logging
from shared.monitoring import Monitored
from shared.settings import Settings
from shared.sweeper import Sweeper
from shared.tracing import configure_tracing
from worker.dispatcher.metrics import DeliveryMetrics
from worker.dispatcher.sender import Sender
from worker.process import serve
from worker.task_events import TaskEvents


class Dispatcher:
    """The parts of one dispatcher, started together."""

    def __init__(self, settings: Settings, app: Celery, monitored: Monitored, node: str) -> None:
        self._end_tracing = configure_tracing("dispatcher")
        store, bell = Ledger(settings.redis_url), Bell(app)
        self._events = TaskEvents(app, DELIVER_TASK, node)
        self._sender = Sender(settings, store, bell, DeliveryMetrics(monitored.registry), self._events)
        self._sweeper = Sweeper(settings, store, bell)
        self._sweeper.start()
        monitored.health.expect(["sweep"])

    def run(self) -> None:
        self._sender.run()

    def drain(self) -> None:
        """Deliveries in flight end by their own time-out, or their leases make them due again."""
        self._sender.drain()

    def close(self) -> None:
        self._sweeper.close()
        self._events.close()
        self._end_tracing()


def make_dispatcher_app(settings: Settings) -> Celery:
    """The Celery app whose one task sends what is due in the outbox."""
    app = make_celery(settings.redis_url, "printworks-dispatcher")
    monitored = Monitored("dispatcher")
    serve(app, DELIVER_TASK, settings, monitored, partial(Dispatcher, settings, app, monitored))
    return app


configure_logging("dispatcher")
app = make_dispatcher_app(Settings.load())
