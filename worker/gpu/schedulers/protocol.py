"""What the engine may ask of a scheduler, whichever one it is."""

from typing import Any, Protocol

import torch


class Scheduler(Protocol):
    """The part of diffusers' schedulers that the engine uses.

    To start from a picture at step `i`: `rest = timesteps[i * order :]` is what is left to do, which
    `set_begin_index(i * order)` tells it, and `add_noise(latents, noise, rest[:1])` is where that begins.
    """

    timesteps: torch.Tensor
    init_noise_sigma: float
    order: int
    config: Any
    alphas_cumprod: torch.Tensor
    """The signal's share at each timestep of the training; for schedulers that work on those."""

    def set_begin_index(self, begin_index: int = 0) -> None: ...

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor: ...

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor: ...

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, **kwargs: Any
    ) -> Any: ...
