"""What the two variance-exploding samplers share: a walk down a list of sigmas, asking a VP model."""

import math
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import register_to_config

from worker.gpu.schedulers.noise_levels import NoiseLevels


class ExplodingWalk:
    """Goes in front of a diffusers class. Samples are clean + sigma * noise; the model sees variance 1.

    Every entry of `timesteps` is one call of the model at one sigma. Where it is, it knows by counting: the
    same timestep may come twice.
    """

    order = 2
    timesteps: torch.Tensor
    more_config: ClassVar[dict[str, Any]] = {}
    """What the diffusers class reads from its config besides."""

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
        self.register_to_config(**self.more_config)  # type: ignore[attr-defined]
        self._predicts_noise = prediction_type == "epsilon"
        self._index = 0
        self._sigmas: list[float] = []
        # a sample at sigma_max if clean pictures have variance 1, as in diffusers' Euler
        self.init_noise_sigma = math.hypot(self._levels.sigma_max, 1)

    def _walk(self, sigmas: list[float], device: str | torch.device | None) -> None:
        """`sigmas`: the noise level of every call of the model."""
        self._sigmas = sigmas
        self._index = 0
        timesteps = [self._levels.timestep_at(sigma) for sigma in sigmas]
        self.timesteps = torch.tensor(timesteps, dtype=torch.float32, device=device)

    def set_begin_index(self, begin_index: int = 0) -> None:
        self._index = begin_index

    def scale_model_input(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | None = None,  # noqa: ARG002 -- the index says more
    ) -> torch.Tensor:
        return sample / math.hypot(self._sigmas[self._index], 1)

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        sigmas = torch.tensor([self._levels.sigma_at(timestep) for timestep in timesteps.tolist()])
        sigmas = sigmas.view(-1, *[1] * (original_samples.ndim - 1)).to(original_samples.device)
        return (original_samples.float() + sigmas * noise.float()).to(original_samples.dtype)

    def _noise_in(self, sample: torch.Tensor, model_output: torch.Tensor) -> torch.Tensor:
        """The noise that the model sees in the sample, of variance 1, in single precision.

        From v: a * v + s * x in VP terms, where x is a * sample, a² is 1 / (1 + sigma²) and s is sigma * a.
        """
        if self._predicts_noise:
            return model_output.float()
        sigma = self._sigmas[self._index]
        variance = 1 + sigma * sigma
        return model_output.float() / math.sqrt(variance) + sigma / variance * sample.float()
