"""The GPU worker on a device that is three times as fast as that of slow.py."""

from tests.servers.paced import pace
from worker.gpu.app import app

__all__ = ["app"]

FORWARD_S = 0.2

pace(FORWARD_S)
