"""The GPU worker on a machine whose clock is a day ahead."""

import time

AHEAD_S = 24 * 3600
_today = time.time

time.time = lambda: _today() + AHEAD_S

from worker.gpu.app import app

__all__ = ["app"]
