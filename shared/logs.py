"""Log lines are events with fields, as JSON on stderr: `logger.info("job finished", extra={"job_id": 7})`."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

CHATTY = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "urllib3", "botocore", "boto3", "s3transfer"),
    *("kombu", "amqp", "celery.worker.strategy", "celery.app.trace"),
)
"""Libraries whose INFO says nothing about a job; httpx's would also show webhook URLs with their secrets."""


def configure_logging(process: str) -> None:
    """Send every logger of this process to stderr as JSON with the `process` that wrote it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "message": "event"},
            static_fields={"process": process},
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)  # else they are lines of another shape
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
