"""A Celery app as its documentation shows one, to compare with: a task that does nothing, and its result."""

import os

from celery import Celery

TASK = "plain.nothing"


def make_app(redis_url: str) -> Celery:
    app = Celery("plain", broker=redis_url, backend=redis_url)
    app.task(_nothing, name=TASK)
    return app


def _nothing(number: int) -> int:
    return number


app = make_app(os.environ.get("PLAIN_CELERY_REDIS_URL", "redis://127.0.0.1:6379/0"))
