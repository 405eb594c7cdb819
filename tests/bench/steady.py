"""The GPU worker on a device whose forwards all take as long."""

from tests.servers.paced import pace
from worker.gpu.app import app

__all__ = ["app"]

FORWARD_S = 0.1

pace(FORWARD_S)
