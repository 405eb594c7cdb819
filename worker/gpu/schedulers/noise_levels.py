"""The noise levels that a Stable Diffusion model was trained on, in the terms the adapters need.

Variance preserving (VP): x = a * clean + s * noise with a² + s² = 1. Variance exploding (VE): x / a = clean +
sigma * noise with sigma = s / a. A model is always asked in VP terms.
"""

from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler

# Models trained down to pure noise have none at their last timestep; diffusers' Euler says the same.
_LEAST_SIGNAL = 2.0**-24


class NoiseLevels:
    """The training schedule of a model, by the timestep, which may be fractional."""

    def __init__(self, *, prediction_type: str, **schedule: Any) -> None:
        """`schedule`: num_train_timesteps, trained_betas and the beta_* options as diffusers means them.

        Raises `ValueError` for a model that predicts neither noise nor v: the adapters convert only these.
        """
        if prediction_type not in ("epsilon", "v_prediction"):
            raise ValueError(f"prediction_type {prediction_type!r} is neither 'epsilon' nor 'v_prediction'")
        table = DDIMScheduler(clip_sample=False, **schedule).alphas_cumprod
        signal = table.double().clamp(min=_LEAST_SIGNAL).numpy()
        self.alphas_cumprod = torch.from_numpy(signal).float()
        self._log_sigmas = np.log((1 - signal) / signal) / 2
        self._timesteps = np.arange(len(signal))

    @property
    def sigma_min(self) -> float:
        return self.sigma_at(0)

    @property
    def sigma_max(self) -> float:
        return self.sigma_at(len(self._timesteps) - 1)

    def sigma_at(self, timestep: float) -> float:
        return float(np.exp(np.interp(timestep, self._timesteps, self._log_sigmas)))

    def timestep_at(self, sigma: float) -> float:
        return float(np.interp(np.log(sigma), self._log_sigmas, self._timesteps))
