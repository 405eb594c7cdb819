"""From noise, or from a picture and noise, to finished latents."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from worker.gpu.engine import Note, Steps, one
from worker.gpu.flux.canvas import Canvas
from worker.gpu.flux.encoding import Conditions
from worker.gpu.flux.forward import Forward
from worker.gpu.flux.kit import FluxKit
from worker.gpu.flux.patches import packed, unpacked
from worker.gpu.flux.request import FluxRequest
from worker.gpu.flux.starting import encoded
from worker.gpu.painting import Start
from worker.gpu.schedulers import FlowScheduler, make_flow_scheduler


@dataclass
class Denoising:
    """One picture's noise and how it is taken away."""

    kit: FluxKit
    request: FluxRequest
    canvas: Canvas
    conditions: Conditions
    note: Note
    alone: object
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator("cpu").manual_seed(self.request.seed)

    def run(self) -> Steps[Tensor]:
        """(1, channels, height, width), finished."""
        request, model = self.request, self.kit.model
        scheduler = make_flow_scheduler(request.sampling, model.scheduler_config, math.prod(self.canvas.grid))
        if request.start is None:
            first, latents = 0, packed(self._noise())
        else:
            first = _first_call(scheduler, request.sampling.steps, request.start.strength)
            latents = yield from self._begun(request.start, scheduler.sigmas[first])
        scheduler.set_begin_index(first)
        options = self._options(scheduler)
        timesteps = scheduler.timesteps[first:]
        for done, timestep in enumerate(timesteps, start=1):
            velocity = yield from self._velocity(latents, timestep)
            latents = scheduler.step(velocity, timestep, latents, **options).prev_sample
            self.note(done / len(timesteps))
        return unpacked(latents, self.canvas.grid)

    def _noise(self) -> Tensor:
        """Drawn on the CPU, so that a seed means the same picture on every device."""
        model, canvas = self.kit.model, self.canvas
        shape = (1, model.latent_channels, canvas.height // model.scale, canvas.width // model.scale)
        return torch.randn(shape, generator=self.generator, dtype=model.dtype).to(model.device)

    def _begun(self, start: Start, sigma: Tensor) -> Steps[Tensor]:
        """The start picture under noise, as patches: `sigma` is the noise's share."""
        model = self.kit.model
        pixels = self.canvas.stretched(start.pixels)
        clean = yield from encoded(self.kit, pixels, self.generator, self.alone)
        share = sigma.to(model.dtype)
        return packed(share * self._noise() + (1 - share) * clean)

    def _velocity(self, latents: Tensor, timestep: Tensor) -> Steps[Tensor]:
        request = self.request
        rows = yield from one(
            Forward(
                model=self.kit.model,
                latents=latents,
                grid=self.canvas.grid,
                timestep=timestep,
                conditions=self.conditions,
                guidance_scale=request.guidance_scale,
                loras=request.loras,
                alone_for=self.alone,
            )
        )
        if not request.is_guided:
            return rows
        without, with_prompt = rows.chunk(2)
        return without + request.true_cfg_scale * (with_prompt - without)

    def _options(self, scheduler: FlowScheduler) -> Mapping[str, Any]:
        return {"generator": self.generator} if _draws_noise(type(scheduler)) else {}


@lru_cache
def _draws_noise(kind: type[FlowScheduler]) -> bool:
    return "generator" in inspect.signature(kind.step).parameters


def _first_call(scheduler: FlowScheduler, steps: int, strength: float) -> int:
    """Where a schedule begins that leaves out its noisier part; rounded as the stock pipeline does."""
    left_out = int(steps - min(steps * strength, steps))
    return min(left_out * scheduler.order, len(scheduler.timesteps))
