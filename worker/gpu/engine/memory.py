"""How many rows of a forward fit the device, learnt by measuring the forwards themselves.

The first forward of every size is measured with a single ask; from then on the batch may be as wide as the
free memory allows. Out of memory halves the width for good. Nothing here is guessed from a model's shape.
"""

import logging
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil
import torch

logger = logging.getLogger(__name__)

USABLE = 0.8
"""Share of the free memory that a forward may take; the rest is for what runs beside it."""
UNLIMITED = 1 << 30
UNLIMITED_BYTES = 1 << 62
MEASURED_EVERY = 32
"""Forwards of a size between measurements of a width that is known already."""

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CGROUP = Path("/sys/fs/cgroup")


class Meter(Protocol):
    """Tells how much memory a piece of work took, and how much there is."""

    def begin(self) -> None: ...

    def taken(self) -> int:
        """Bytes at the peak since `begin`, above what was in use then; 0 if it can't be told."""

    def free(self) -> int: ...


class CudaMeter:
    """The allocator's own figures."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0

    def begin(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def taken(self) -> int:
        return torch.cuda.max_memory_allocated(self._device) - self._before

    def free(self) -> int:
        cached = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(torch.cuda.mem_get_info(self._device)[0]) + cached


class ProcessMeter:
    """The process's peak of resident memory, as Linux counts it; elsewhere it measures nothing."""

    def __init__(self) -> None:
        self._before = 0

    def begin(self) -> None:
        try:
            _RESET.write_text("5")  # sets the peak back to what is resident now
            self._before = _peak_bytes()
        except OSError:
            self._before = UNLIMITED_BYTES

    def taken(self) -> int:
        try:
            return max(0, _peak_bytes() - self._before)
        except OSError:
            return 0

    def free(self) -> int:
        available = int(psutil.virtual_memory().available)
        try:
            limit = (_CGROUP / "memory.max").read_text().strip()
            used = int((_CGROUP / "memory.current").read_text())
        except OSError:
            return available
        return available if limit == "max" else min(available, int(limit) - used)


def _peak_bytes() -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def meter_for(device: torch.device) -> Meter:
    return CudaMeter(device) if device.type == "cuda" else ProcessMeter()


class MemoryModel:
    """Bytes per row for each size of work, as measured; owned by the engine's thread.

    A measurement may be too large, when a model is loaded just then, and never too small. So of every width
    the smallest figure counts, and widths are measured again from time to time.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._taken: dict[Hashable, dict[int, int]] = {}
        self._forwards: Counter[Hashable] = Counter()
        self._limits: dict[Hashable, int] = {}

    def most_rows(self, size: Hashable) -> int:
        """How many rows may share a forward now; 0 (a single ask) before the first was measured."""
        taken = self._taken.get(size)
        if not taken:
            return 0
        per_row = max(figure / rows for rows, figure in taken.items())
        fitting = int(USABLE * self._meter.free() / per_row) if per_row > 0 else UNLIMITED
        return min(fitting, self._limits.get(size, UNLIMITED))

    @contextmanager
    def measured(self, size: Hashable, rows: int) -> Iterator[None]:
        """Measures the forward inside, if it is the first of its width or its turn has come again."""
        taken = self._taken.setdefault(size, {})
        self._forwards[size] += 1
        if rows in taken and self._forwards[size] % MEASURED_EVERY:
            yield
            return
        self._meter.begin()
        yield
        taken[rows] = min(self._meter.taken(), taken.get(rows, UNLIMITED_BYTES))

    def narrow(self, size: Hashable, rows: int) -> None:
        """A forward of `rows` rows did not fit: at most half as many from now on."""
        self._limits[size] = max(1, min(self._limits.get(size, UNLIMITED), rows // 2))
        logger.warning("lane narrowed", extra={"rows": rows, "now": self._limits[size]})
