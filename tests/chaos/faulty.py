"""The GPU worker on a device that fails, in a way of its own for each shape of picture.

What fails is diffusers' denoiser; the worker itself is as it always is. Most faults come once per
installation, so that the next attempt succeeds.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import diffusers
import torch

from shared.settings import Settings
from tests.chaos.shapes import SHAPES, SIDE
from worker.gpu.app import app

__all__ = ["app"]

ROWS_THAT_FIT = 2
"""In one forward: a picture and what guides it."""

_healthy: Callable[..., Any] = diffusers.UNet2DConditionModel.forward


def _segfault(_: torch.Tensor) -> None:
    ctypes.string_at(0)


def _hang(_: torch.Tensor) -> None:
    threading.Event().wait()


def _lose_device(_: torch.Tensor) -> None:
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


def _run_out_of_memory(sample: torch.Tensor) -> None:
    if len(sample) > ROWS_THAT_FIT:
        raise torch.OutOfMemoryError("CUDA out of memory")


FAULTS: Mapping[str, Callable[[torch.Tensor], None]] = {
    "segfault": _segfault,
    "hang": _hang,
    "device lost": _lose_device,
    "out of memory": _run_out_of_memory,
    "poison": _segfault,
}
ONCE = ("segfault", "hang", "device lost")


def forward(self: Any, sample: torch.Tensor, *arguments: Any, **options: Any) -> Any:
    shape = Fraction(sample.shape[-2], sample.shape[-1])
    for name, height in SHAPES.items():
        if shape == Fraction(height, SIDE) and (name not in ONCE or _is_first(name)):
            FAULTS[name](sample)
    return _healthy(self, sample, *arguments, **options)


def _is_first(name: str) -> bool:
    """Whether no worker of this installation has met that fault yet."""
    marker = Path(Settings.load().data_dir) / f"met: {name}"
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


diffusers.UNet2DConditionModel.forward = forward
