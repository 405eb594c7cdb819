"""Wan (arXiv:2503.20314): a diffusion transformer over whole films, trained on flows instead of noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
from diffusers import FlowMatchEulerDiscreteScheduler, SchedulerMixin, WanPipeline
from torch import nn

from worker.gpu.filming.model import Canvas
from worker.gpu.filming.request import FilmRequest
from worker.gpu.schedulers import Ran, Sampling, what_runs

EULER, FLOW_EULER = "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"
SOLVERS = ("UniPCMultistepScheduler", "DPMSolverMultistepScheduler")
"""The samplers that diffusers also wrote for flows. Any other name runs as the model's own scheduler."""
STEP = 16
"""Width and height of what the pipeline takes are multiples of it, whatever the model."""


@dataclass(frozen=True)
class Wan:
    video_id: str
    parts: Mapping[str, Any]
    """The pipeline's components but its scheduler."""
    options: Mapping[str, Any]
    """The pipeline's settings that are no components."""
    scheduler: SchedulerMixin
    """The model's own; films get copies."""

    @property
    def call_options(self) -> Mapping[str, Any]:
        return {}

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        return tuple(part for part in self.parts.values() if isinstance(part, nn.Module))

    def what_runs(self, sampling: Sampling) -> Ran:
        name = what_runs(sampling).scheduler
        if name == EULER:
            return Ran(FLOW_EULER, karras=False, algorithm=None)
        if name not in SOLVERS:
            name = type(self.scheduler).__name__
        return Ran(name, karras=False, algorithm="dpmsolver++" if name == SOLVERS[1] else None)

    def canvas(self, request: FilmRequest) -> Canvas:
        """Sides in whole patches, and one frame more than a multiple of what one latent frame holds."""
        vae = self.parts["vae"].config
        network = self.parts["transformer"] or self.parts["transformer_2"]
        _, down, across = network.config.patch_size
        return Canvas(
            width=_rounded_up(request.width, max(STEP, vae.scale_factor_spatial * across)),
            height=_rounded_up(request.height, max(STEP, vae.scale_factor_spatial * down)),
            frames=_rounded_up(request.frames - 1, vae.scale_factor_temporal) + 1,
        )

    def pipeline(self, sampling: Sampling) -> WanPipeline:
        return WanPipeline(**self.parts, **self.options, scheduler=self._scheduler(sampling))

    def _scheduler(self, sampling: Sampling) -> SchedulerMixin:
        name, own = self.what_runs(sampling).scheduler, self.scheduler.config
        if name == type(self.scheduler).__name__:
            return type(self.scheduler).from_config(own)
        shift = own.get("flow_shift") or own.get("shift") or 1.0
        steps = own.num_train_timesteps
        if name == FLOW_EULER:
            return FlowMatchEulerDiscreteScheduler(num_train_timesteps=steps, shift=shift)
        return getattr(diffusers, name)(
            num_train_timesteps=steps,
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            flow_shift=shift,
        )


def _rounded_up(value: int, step: int) -> int:
    return -(-value // step) * step
