"""The life of a Celery worker process that serves one kind of doorbell: start, follow bells, drain, end."""

import logging
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from celery import Celery
from celery.signals import (
    setup_logging,
    worker_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from shared.monitoring import Monitored
from shared.settings import Settings

logger = logging.getLogger(__name__)


class Service(Protocol):
    """What a process does. `run` is called by many threads at a time, the rest once, in this order."""

    def run(self) -> None:
        """Follow one bell."""

    def drain(self) -> None:
        """SIGTERM came: begin nothing new. Must return at once."""

    def close(self) -> None:
        """All bells are followed; the process ends."""


def serve(
    app: Celery, task_name: str, settings: Settings, monitored: Monitored, start: Callable[[str], Service]
) -> None:
    """Tie the service that `start` makes to this process's life, and its `run` to the task `task_name`.
    Probes are answered before it is made, because that may take minutes. It is given the name of this Celery
    node. The task tells monitors nothing of itself: see task_events.py.

    Celery's hooks pass no state along, so the service lives in this closure.
    """
    started: list[Service] = []

    def on_init(sender: Any, **_: Any) -> None:
        try:
            monitored.open(settings)
            started.append(start(sender.hostname))
        except Exception as exc:  # Celery would log it and go on without a service
            logger.exception("the process can't start")
            end_process(exc)

    def on_ready(**_: Any) -> None:
        monitored.health.begin()

    def on_shutting_down(**_: Any) -> None:
        monitored.health.end()
        started[0].drain()

    def on_shutdown(**_: Any) -> None:
        started[0].close()

    def keep_our_logging(**_: Any) -> None:
        """Connected so that Celery does not set up its own."""

    def follow_bell() -> None:
        started[0].run()

    worker_init.connect(on_init, weak=False)
    worker_ready.connect(on_ready, weak=False)
    worker_shutting_down.connect(on_shutting_down, weak=False)
    worker_shutdown.connect(on_shutdown, weak=False)
    setup_logging.connect(keep_our_logging, weak=False)
    app.task(follow_bell, name=task_name, send_events=False)


def request_end() -> None:
    """End as SIGTERM ends it: drained. Whoever started the process starts it again."""
    os.kill(os.getpid(), signal.SIGTERM)


def end_process(reason: BaseException | str) -> NoReturn:
    """End now, without clean-up, which a hung device would hang too; the ledger gives the work to others."""
    logger.critical("the process ends itself", extra={"reason": str(reason)})
    logging.shutdown()
    os._exit(os.EX_SOFTWARE)
