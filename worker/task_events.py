"""What monitors of Celery, as flower is one, show of the jobs: a task for each, and one for each webhook.

Celery's own events would tell of doorbells, which hold nothing and often find nothing to do. These are sent
by a thread of their own, and given up when Redis is away: nothing waits for them, nothing depends on them.
"""

import logging
import queue
import threading
import time
from enum import StrEnum
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

MOST_WAITING = 1000
CLOSE_S = 2.0
RETRIES = {"max_retries": 2, "interval_start": 0, "interval_step": 1}


class End(StrEnum):
    """How a task ends, in Celery's words."""

    SUCCEEDED = "task-succeeded"
    FAILED = "task-failed"
    REVOKED = "task-revoked"
    RETRIED = "task-retried"
    """For now: somebody will start it again."""


class TaskEvents:
    """Safe to share between threads. What is told must be fit for everybody who may see flower."""

    def __init__(self, app: Celery, task: str, node: str) -> None:
        self._app = app
        self._task = task
        self._node = node
        self._began: dict[str, float] = {}
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._send, name="task-events", daemon=True)
        self._thread.start()

    def started(self, task_id: str, **about: object) -> None:
        """Never blocks and never fails, like all that follows."""
        self._began[task_id] = time.monotonic()
        self._tell("task-received", task_id, name=self._task, args="()", kwargs=repr(about))
        self._tell("task-started", task_id)

    def ended(self, task_id: str, end: End, result: str) -> None:
        runtime = time.monotonic() - self._began.pop(task_id, time.monotonic())
        self._tell(end, task_id, result=result, runtime=runtime)

    def taken_away(self, task_id: str) -> None:
        """It goes on elsewhere, and is told from there."""
        self._began.pop(task_id, None)

    def close(self) -> None:
        """What has been told is sent, if that can be done in a moment."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)

    def _tell(self, kind: str, task_id: str, **fields: object) -> None:
        try:
            self._waiting.put_nowait({"type_": kind, "uuid": task_id, "timestamp": time.time(), **fields})
        except queue.Full:
            logger.warning("a monitor is not told", extra={"task_id": task_id, "reason": "too much waits"})

    def _send(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                with self._app.events.default_dispatcher(hostname=self._node) as dispatcher:
                    dispatcher.send(event.pop("type_"), retry=True, retry_policy=RETRIES, **event)
            except (OperationalError, RedisError, OSError) as exc:
                logger.warning("a monitor is not told", extra={"task_id": event["uuid"], "reason": str(exc)})
            except Exception:
                logger.exception("a monitor is not told", extra={"task_id": event["uuid"]})
