"""The benchmarks run, and print ratios. What the ratios are is no test's business."""

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.bench.models import sd15_unet, sdxl_unet

ROWS = {"mixed": 2, "kinds": 2, "arrivals": 4, "overhead": 2, "tick": 6}
"""How many rows each one's table has."""


def test_every_benchmark_prints_a_table_with_ratios() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.engine", "--quick", "--device", "cpu"]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)

    header, *tables = ran.stdout.split("\n\n")
    assert "diffusers" in header
    assert [table.split(":")[0] for table in tables] == list(ROWS)
    assert {name: len(ratios(table)) for name, table in zip(ROWS, tables, strict=True)} == ROWS


def test_what_a_job_costs_redis_is_measured_beside_a_plain_task_and_as_clusters_grow() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.redis_cost"]

    ran = subprocess.run(
        [*command, "--jobs", "10", "--gpus", "2", "4"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )

    beside, own, growing = ran.stdout.strip().split("\n\n")
    assert len(ratios(beside)) == 2
    assert len(own.splitlines()) == 2 + 3
    assert [row.split()[0] for row in growing.splitlines()[2:-1]] == [
        *("accept", "claim", "finish", "beat", "sweep", "census"),
    ]


def ratios(table: str) -> list[float]:
    """The numbers under `ratio`; a cell ends where its column's name ends."""
    _, columns, *lines = table.splitlines()
    end = columns.index("ratio") + len("ratio")
    cells = [re.search(r"  (\d+\.\d+)$", line[:end]) for line in lines]
    return [float(cell[1]) for cell in cells if cell]


@pytest.mark.parametrize(
    ("build", "weights"),
    [pytest.param(sd15_unet, 859_520_964, id="sd15"), pytest.param(sdxl_unet, 2_567_463_684, id="sdxl")],
)
def test_the_random_models_are_as_large_as_the_real_ones(
    build: Callable[[], UNet2DConditionModel], weights: int
) -> None:
    with torch.device("meta"):
        unet = build()

    assert sum(parameter.numel() for parameter in unet.parameters()) == weights
