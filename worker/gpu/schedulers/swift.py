"""diffusers' own schedulers that take too long to make: every picture makes one, while others wait."""

from typing import Any

import torch
from diffusers import KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler


class _OneStepAtFirst:
    """Their constructors set a thousand steps, which takes a hundred milliseconds and is never read."""

    def set_timesteps(
        self,
        num_inference_steps: int,
        device: str | torch.device | None = None,
        num_train_timesteps: int | None = None,
    ) -> None:
        steps = num_inference_steps if num_train_timesteps is None else 1  # only the constructor says both
        base: Any = super()
        base.set_timesteps(steps, device, num_train_timesteps)


class SwiftKDPM2(_OneStepAtFirst, KDPM2DiscreteScheduler):  # type: ignore[misc]
    """KDPM2."""


class SwiftKDPM2Ancestral(_OneStepAtFirst, KDPM2AncestralDiscreteScheduler):  # type: ignore[misc]
    """KDPM2 ancestral."""
