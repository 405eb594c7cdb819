"""Looks from time to time how full the device is.

On a thread of its own: a device that hangs holds up neither the leases nor who asks for the metrics.
"""

from pathlib import Path

import psutil
import torch
from prometheus_client import Gauge

from shared.rounds import Rounds
from worker.gpu.models.library import Library

EVERY_S = 5.0
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class DeviceMemory:
    """Of a CPU it is this process's memory, and what it may have."""

    def __init__(self, library: Library, gauge: Gauge) -> None:
        self._library = library
        self._gauge = gauge
        self._rounds = Rounds("device memory", EVERY_S, self._look)

    def start(self) -> None:
        """The first look is taken at once."""
        self._look()
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close()

    def _look(self) -> None:
        used, total = _of_gpu(self._library.device) if self._library.device.type == "cuda" else _of_process()
        for what, size in (("used", used), ("total", total), ("models", self._library.model_bytes)):
            self._gauge.labels(what=what).set(size)


def _of_gpu(device: torch.device) -> tuple[int, int]:
    free, total = torch.cuda.mem_get_info(device)
    return total - free, total


def _of_process() -> tuple[int, int]:
    total = int(psutil.virtual_memory().total)
    try:
        limit = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        limit = "max"
    return int(psutil.Process().memory_info().rss), total if limit == "max" else min(total, int(limit))
