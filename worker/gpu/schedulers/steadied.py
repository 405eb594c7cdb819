"""diffusers' own schedulers where starting from a picture needs more than they have."""

import torch
from diffusers import DDIMScheduler, DDPMScheduler, LCMScheduler, PNDMScheduler


class _SteadyTable:
    """Adding noise moves diffusers' table to the samples' device; the steps look it up on the CPU."""

    alphas_cumprod: torch.Tensor

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        table = self.alphas_cumprod
        noisy: torch.Tensor = super().add_noise(original_samples, noise, timesteps)  # type: ignore[misc]
        self.alphas_cumprod = table
        return noisy


class _AnyBeginning:
    """These go by the timestep alone, wherever they begin: the same as in the stock pipelines."""

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Nothing to remember."""


class SteadyDDPM(_SteadyTable, _AnyBeginning, DDPMScheduler):  # type: ignore[misc]
    """DDPM."""


class SteadyDDIM(_SteadyTable, _AnyBeginning, DDIMScheduler):  # type: ignore[misc]
    """DDIM."""


class SteadyPNDM(_SteadyTable, _AnyBeginning, PNDMScheduler):  # type: ignore[misc]
    """PNDM."""


class SteadyLCM(_SteadyTable, LCMScheduler):  # type: ignore[misc]
    """LCM."""
