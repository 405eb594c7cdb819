"""IPNDM for Stable Diffusion models: diffusers' pseudo linear multistep method on the model's schedule."""

from typing import Any

import numpy as np
import torch
from diffusers import IPNDMScheduler
from diffusers.configuration_utils import register_to_config

from worker.gpu.schedulers.noise_levels import NoiseLevels


class VpIPNDMScheduler(IPNDMScheduler):  # type: ignore[misc]
    """F-PNDM of Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds" (9, 12).

    diffusers' class steps in its own continuous schedule and wants the velocity v. Here its tables hold the
    model's signal and noise levels instead, and predicted noise becomes the v that means the same.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        rescale_betas_zero_snr: bool = False,
        prediction_type: str = "epsilon",
    ) -> None:
        self._levels = NoiseLevels(
            num_train_timesteps=num_train_timesteps,
            beta_start=beta_start,
            beta_end=beta_end,
            beta_schedule=beta_schedule,
            trained_betas=trained_betas,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
            prediction_type=prediction_type,
        )
        super().__init__(num_train_timesteps, trained_betas)

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Evenly spaced from the noisiest timestep; the last step ends at the clean picture."""
        super().set_timesteps(num_inference_steps)
        noisiest = len(self._levels.alphas_cumprod) - 1
        spaced = np.linspace(noisiest, 0, num_inference_steps + 1)[:-1]
        timesteps = torch.from_numpy(spaced.round().astype(np.int64))
        signal = torch.cat([self._levels.alphas_cumprod[timesteps], torch.ones(1)])
        self.alphas, self.betas = signal.sqrt(), (1 - signal).sqrt()
        self.timesteps = timesteps.to(device)

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor,
        sample: torch.Tensor,
        return_dict: bool = True,
    ) -> Any:
        if self.step_index is None:
            self._init_step_index(timestep)
        clear, noisy = self.alphas[self.step_index], self.betas[self.step_index]
        x, velocity = sample.float(), model_output.float()
        if self.config.prediction_type == "epsilon":
            velocity = (velocity - noisy * x) / clear
        stepped = super().step(velocity, timestep, x)
        stepped.prev_sample = stepped.prev_sample.to(sample.dtype)
        return stepped if return_dict else (stepped.prev_sample,)

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        signal = self._levels.alphas_cumprod[timesteps.cpu()].to(original_samples.device)
        signal = signal.view(-1, *[1] * (original_samples.ndim - 1))
        noisy = signal.sqrt() * original_samples.float() + (1 - signal).sqrt() * noise.float()
        return noisy.to(original_samples.dtype)
