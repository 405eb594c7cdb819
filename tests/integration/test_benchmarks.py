"""The benchmarks run, and print ratios. What the ratios are is no test's business."""

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.bench.models import sd15_unet, sdxl_unet

ROWS = {"mixed": 2, "arrivals": 4, "overhead": 4, "tick": 6}


def test_the_benchmarks_print_their_ratios() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.engine"]
    command += ["--jobs", "2", "--repeats", "1", "--side", "64"]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)

    assert len(re.findall(r" ratio +\d+\.\d{3}", ran.stdout)) == sum(ROWS.values())
    assert all(f"\n{name}: " in ran.stdout for name in ROWS)


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
