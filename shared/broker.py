"""Celery as doorbells: names, settings and the bell. A message only hints that the ledger holds work.

Why these settings (all measured on Celery 5.7 and Redis): `acks_late` with a prefetch of one and
`worker_disable_prefetch` keep bells in the queue while all slots are busy, so that another worker hears
them; one priority step keeps a queue one list, whose length the ledger's scripts can see.
"""

import contextlib
import logging
import threading
from collections.abc import Iterable
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.redis_servers import broker_of

GPU_QUEUES = "gpu."
"""Before the name of a pool: each has a queue of its own, so that those hear a bell who serve the job."""
WEBHOOK_QUEUE = "webhooks"
GENERATE_TASK = "printworks.generate"
DELIVER_TASK = "printworks.deliver"

LONGEST_RECONNECT_S = 3
"""Between two attempts to reach a Redis that is away; Celery's own waits grow to half a minute."""

logger = logging.getLogger(__name__)


def gpu_queue(pool: str) -> str:
    return GPU_QUEUES + pool


def _task_of(queue: str) -> str:
    return GENERATE_TASK if queue.startswith(GPU_QUEUES) else DELIVER_TASK


class SteadyConnection(Connection):
    """To the broker. A worker outlives Redis, and hears bells again soon after it is back."""

    def maybe_close_channel(self, channel: Any) -> None:
        """kombu gives back the bells that a busy worker holds, and has forgotten by then where to: an error
        that would end the worker. They are rung again anyway."""
        with contextlib.suppress(AttributeError):
            super().maybe_close_channel(channel)  # type: ignore[no-untyped-call]

    def info(self) -> dict[str, Any]:
        """For who watches: without the options of the transport, in which the Sentinels' password is."""
        told: dict[str, Any] = super().info()  # type: ignore[no-untyped-call]
        return told | {"transport_options": {}}

    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        return super().ensure_connection(  # type: ignore[no-untyped-call]
            *arguments, **options, interval_max=LONGEST_RECONNECT_S
        )


class SteadyAmqp(AMQP):  # type: ignore[misc]
    Connection = SteadyConnection


def make_celery(redis_url: str, name: str) -> Celery:
    """The Celery app of one process; every process must use the same settings."""
    url, options = broker_of(redis_url)
    app = Celery(name, broker=url, amqp=SteadyAmqp, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_TRANSPORT | options,
    )
    return app


_TRANSPORT: dict[str, Any] = {
    "priority_steps": [0],
    # A bell that is heard twice is harmless; one that is heard late is rung again by the sweep.
    "visibility_timeout": 3600,
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


class Bell:
    """Rings from its own thread, coalesced: many rings while one is being sent become one."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._send, name="bell", daemon=True)
        self._thread.start()

    def ring(self, queues: Iterable[str]) -> None:
        """Never blocks and never fails: a lost ring is repeated by the sweep."""
        with self._changed:
            self._wanted.update(queues)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout=2)

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._stopping)
                if self._stopping:
                    return
                queue = self._wanted.pop()
            try:
                self._app.send_task(_task_of(queue), queue=queue, ignore_result=True, retry=False)
            except (OperationalError, RedisError, OSError) as exc:
                logger.warning("bell not rung", extra={"queue": queue, "reason": str(exc)})
            except Exception:
                logger.exception("bell not rung", extra={"queue": queue})
