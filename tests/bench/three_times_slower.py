"""The GPU worker on a device that takes three times as long as that of steady.py."""

from tests.bench.steady import FORWARD_S
from tests.servers.paced import pace
from worker.gpu.app import app

__all__ = ["app"]

pace(3 * FORWARD_S)  # instead of what steady.py waits
