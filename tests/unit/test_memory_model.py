"""How wide a forward may be: by what earlier ones took."""

from dataclasses import dataclass

import numpy as np
import pytest

from worker.gpu.engine.memory import USABLE, MemoryModel, ProcessMeter

MB = 2**20


@dataclass
class Told:
    """A meter that says what it is told."""

    takes: int = 0
    has: int = 1000

    def begin(self) -> None:
        pass

    def taken(self) -> int:
        return self.takes

    def free(self) -> int:
        return self.has


def test_nothing_is_known_before_the_first_forward() -> None:
    assert MemoryModel(Told()).most_rows("size") == 0


def test_the_measured_need_of_a_row_and_the_free_memory_bound_the_width() -> None:
    meter = Told(takes=20)
    memory = MemoryModel(meter)

    with memory.measured("size", rows=2):
        pass

    assert memory.most_rows("size") == USABLE * 1000 / 10
    meter.has = 50
    assert memory.most_rows("size") == USABLE * 50 / 10
    assert memory.most_rows("another size") == 0


def test_the_largest_need_ever_seen_counts() -> None:
    meter = Told(takes=10)
    memory = MemoryModel(meter)
    for rows, takes in ((1, 10), (2, 60), (4, 40)):
        meter.takes = takes
        with memory.measured("size", rows):
            pass

    assert memory.most_rows("size") == int(USABLE * 1000 / 30)


def test_out_of_memory_halves_the_width_for_good() -> None:
    memory = MemoryModel(Told())
    with memory.measured("size", rows=1):
        pass

    memory.narrow("size", 16)
    memory.narrow("size", 8)
    memory.narrow("size", 32)

    assert memory.most_rows("size") == 4


def test_the_process_sees_what_a_piece_of_work_takes() -> None:
    meter = ProcessMeter()
    meter.begin()

    block = np.ones(200 * MB, dtype=np.uint8)
    del block

    assert 150 * MB < meter.taken() < 400 * MB
    assert meter.free() > 0


@pytest.mark.parametrize("rows", [1, 4])
def test_a_forward_that_takes_nothing_measurable_bounds_nothing(rows: int) -> None:
    memory = MemoryModel(Told(takes=0))
    with memory.measured("size", rows):
        pass

    assert memory.most_rows("size") > 10**6
