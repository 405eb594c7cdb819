"""GPU workers whose forwards take a time of their own, however busy the machine is: by sleeping.

What waits is diffusers' denoiser; the worker itself is as it always is.
"""

import time
from collections.abc import Callable
from typing import Any

import diffusers

_at_once: Callable[..., Any] = diffusers.UNet2DConditionModel.forward


def pace(forward_s: float) -> None:
    """From now on each forward of this process takes so much longer."""

    def forward(self: Any, *arguments: Any, **options: Any) -> Any:
        time.sleep(forward_s)
        return _at_once(self, *arguments, **options)

    diffusers.UNet2DConditionModel.forward = forward
