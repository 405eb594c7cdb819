"""Makes the diffusers scheduler object of one sequence. Each sequence owns its own: they keep state."""

import inspect
from collections.abc import Mapping
from typing import Any, Protocol

import diffusers
import torch

from shared.schedulers import SCHEDULERS

# A config saved for another scheduler lacks these, and diffusers' defaults for them spoil the picture:
# clip_sample would clip latents to [-1, 1], and PRK steps would triple the first steps of PNDM.
# lower_order_final is what the single-step solver switches on by itself, with a warning each time.
_OVERRIDES: dict[str, Any] = {"clip_sample": False, "skip_prk_steps": True, "lower_order_final": True}


class Scheduler(Protocol):
    """The part of diffusers' schedulers that the engine uses."""

    timesteps: torch.Tensor
    init_noise_sigma: float

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor: ...

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, **kwargs: Any
    ) -> Any: ...


def make_scheduler(name: str, base_config: Mapping[str, Any], steps: int) -> Scheduler:
    """A fresh scheduler with its timesteps set, its tables on the CPU so that no step waits for the device.

    `base_config` is the model's own; raises `ValueError` for a name that is not in `SCHEDULERS`.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"no scheduler {name!r}")
    kind = getattr(diffusers, name)
    known = inspect.signature(kind.__init__).parameters
    overrides = {option: value for option, value in _OVERRIDES.items() if option in known}
    scheduler = kind.from_config(base_config, **overrides)
    scheduler.set_timesteps(steps)
    return scheduler  # type: ignore[no-any-return]
