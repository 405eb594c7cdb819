"""ScoreSdeVe for Stable Diffusion models: the predictor-corrector of Song et al., in the usual interface."""

import math
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import ScoreSdeVeScheduler
from diffusers.schedulers.scheduling_utils import SchedulerOutput

from worker.gpu.schedulers.variance_exploding import ExplodingWalk


class SdScoreSdeVeScheduler(ExplodingWalk, ScoreSdeVeScheduler):  # type: ignore[misc]
    """Algorithms 2 and 4 of Song et al. 2021, "Score-Based Generative Modeling through SDEs" (VE).

    Every step asks the model twice at its noise level, for one Langevin corrector and for the reverse
    diffusion predictor, which makes 2n timesteps. The score is minus the noise in the sample, over sigma.
    The corrector's step size is a mean over the batch, so a batch must be one picture.
    """

    more_config: ClassVar[dict[str, Any]] = {"snr": 0.15}  # the corrector's, as diffusers has it

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Geometric progression; a single level is the highest, where diffusers would take the lowest."""
        self.num_inference_steps = num_inference_steps
        high, low = math.log(self._levels.sigma_max), math.log(self._levels.sigma_min)
        falling = np.exp(np.linspace(high, low, num_inference_steps))
        self.discrete_sigmas = torch.from_numpy(falling[::-1].copy()).float()  # rising, as diffusers has them
        self._walk(falling.repeat(2).tolist(), device)

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor,  # noqa: ARG002 -- the index says more
        sample: torch.Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> Any:
        step, predicting = divmod(self._index, 2)
        score = -self._noise_in(sample, model_output) / self._sigmas[self._index]
        if predicting:
            moved = self._predicted(score, step, sample.float(), generator)
        else:
            moved = self.step_correct(score, sample.float(), generator=generator).prev_sample
        self._index += 1
        moved = moved.to(sample.dtype)
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)

    def _predicted(
        self, score: torch.Tensor, step: int, sample: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """The last prediction is taken without its fresh noise, as in the paper."""
        rank = self.num_inference_steps - 1 - step
        # diffusers rounds time * (len(timesteps) - 1) down to the rank of a sigma: aim at the middle
        time = (rank + 0.5) / (len(self.timesteps) - 1)
        # diffusers looks sigmas up with a tensor on the sample's device, and waits if they are elsewhere
        self.discrete_sigmas = self.discrete_sigmas.to(sample.device)
        stepped = self.step_pred(score, time, sample, generator=generator)
        moved: torch.Tensor = stepped.prev_sample if rank else stepped.prev_sample_mean
        return moved
