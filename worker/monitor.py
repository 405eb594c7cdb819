"""Entry point of flower: `celery -A worker.monitor flower`. It watches Celery; jobs are in the metrics."""

from shared.broker import make_celery
from shared.settings import Settings

app = make_celery(Settings.load().redis_url, "printworks-monitor")
