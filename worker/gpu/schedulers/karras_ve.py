"""KarrasVe for Stable Diffusion models: the stochastic sampler of Karras et al., in the usual interface."""

from typing import Any

import numpy as np
import torch
from diffusers import KarrasVeScheduler
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor

from worker.gpu.schedulers.noise_levels import NoiseLevels
from worker.gpu.schedulers.variance_exploding import ExplodingWalk

# S_churn, S_noise, S_min and S_max of the paper, with the values that diffusers gives them.
CHURN = 80.0
NOISE_INFLATION = 1.007
LEAST_CHURNED, MOST_CHURNED = 0.05, 50.0
RHO = 7.0
_MOST_CHURN_OF_A_STEP = 2.0**0.5 - 1


class SdKarrasVeScheduler(ExplodingWalk, KarrasVeScheduler):  # type: ignore[misc]
    """Algorithm 2 of Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models".

    Every step but the last asks the model twice (Heun), which makes 2n - 1 timesteps: those of step i begin
    at 2 * i. The noise that the algorithm adds when a step begins is added here when the one before ends,
    because only `step` has the generator; the first step begins at the noisiest level and adds none.
    """

    _sample_hat: torch.Tensor
    _derivative: torch.Tensor

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        self.num_inference_steps = num_inference_steps
        churn = min(CHURN / num_inference_steps, _MOST_CHURN_OF_A_STEP)
        self._plain = _spaced(self._levels, num_inference_steps)
        self._churned = [_churned(sigma, churn, self._levels) for sigma in self._plain[:-1]]
        calls = [sigma for step in zip(self._churned, self._plain[1:], strict=True) for sigma in step]
        self._walk(calls[:-1], device)  # nothing is asked at zero, where the last step ends

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor,  # noqa: ARG002 -- the index says more
        sample: torch.Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> Any:
        step, correcting = divmod(self._index, 2)
        direction = -self._noise_in(sample, model_output)  # diffusers' class adds what its model says
        high, low = self._churned[step], self._plain[step + 1]
        x = sample.float()
        if correcting:
            half = super().step_correct(direction, high, low, self._sample_hat, x, self._derivative)
            moved = self._with_churn(half.prev_sample, step + 1, generator)
        else:
            half = super().step(direction, high, low, x)
            self._sample_hat, self._derivative = x, half.derivative
            moved = half.prev_sample
        self._index += 1
        moved = moved.to(sample.dtype)
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)

    def _with_churn(self, sample: torch.Tensor, step: int, generator: torch.Generator | None) -> torch.Tensor:
        """The sample at the level at which this step asks the model."""
        variance = self._churned[step] ** 2 - self._plain[step] ** 2
        noise = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
        churned: torch.Tensor = sample + NOISE_INFLATION * variance**0.5 * noise
        return churned


def _spaced(levels: NoiseLevels, steps: int) -> list[float]:
    """Equation 5 of the paper: the noise levels of the steps, and the zero at which the last one ends."""
    roots = np.linspace(levels.sigma_max ** (1 / RHO), levels.sigma_min ** (1 / RHO), steps)
    return [*(roots**RHO).tolist(), 0.0]


def _churned(sigma: float, churn: float, levels: NoiseLevels) -> float:
    """The higher level that the algorithm goes to first, never above what the model was trained on."""
    if not LEAST_CHURNED <= sigma <= MOST_CHURNED:
        return sigma
    return max(sigma, min(sigma * (1 + churn), levels.sigma_max))
