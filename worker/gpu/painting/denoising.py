"""From noise to finished latents: the plain loop, panoramas, and two passes for large pictures."""

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from worker.gpu.engine import Note, Steps, together
from worker.gpu.painting.guidance import Guided
from worker.gpu.painting.views import views
from worker.gpu.schedulers import Scheduler, make_scheduler

SECOND_PASS_STRENGTH = 0.6
"""How much of the schedule highres_fix's second pass repeats: enough to sharpen, too little to redraw."""


@dataclass
class Progress:
    """Counts the steps of all passes."""

    note: Note
    total: int
    done: int = 0

    def step(self) -> None:
        self.done += 1
        self.note(self.done / self.total)


@dataclass
class Denoising:
    """One picture's noise and how it is taken away."""

    guided: Guided
    note: Note
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator("cpu").manual_seed(self.guided.request.seed)

    def run(self) -> Steps[Tensor]:
        """(1, channels, height, width), finished."""
        request = self.guided.request
        if request.panorama:
            return (yield from self._panorama(request.height, request.width))
        if request.highres_fix:
            return (yield from self._two_passes())
        scheduler = self._scheduler()
        progress = Progress(self.note, len(scheduler.timesteps))
        latents = self._noise(request.height, request.width) * scheduler.init_noise_sigma
        return (yield from self._denoised(scheduler, scheduler.timesteps, latents, progress))

    def _scheduler(self) -> Scheduler:
        return make_scheduler(self.guided.request.sampling, self.guided.kit.model.scheduler_config)

    def _noise(self, height: int, width: int) -> Tensor:
        """Drawn on the CPU, so that a seed means the same picture on every device."""
        model = self.guided.kit.model
        shape = (1, model.latent_channels, height // model.scale, width // model.scale)
        noise = torch.randn(shape, generator=self.generator, dtype=model.dtype)
        return noise.to(model.device)

    def _denoised(
        self, scheduler: Scheduler, timesteps: Tensor, latents: Tensor, progress: Progress
    ) -> Steps[Tensor]:
        options = self._options(scheduler)
        guided = yield from self.guided.controlled(latents)
        for timestep in timesteps:
            prediction = yield from guided.predict(scheduler, latents, timestep)
            latents = scheduler.step(prediction, timestep, latents, **options).prev_sample
            progress.step()
        return latents

    def _two_passes(self) -> Steps[Tensor]:
        """A picture of the model's own size first: larger ones get their parts right, not their whole."""
        request, model = self.guided.request, self.guided.kit.model
        first, second = self._scheduler(), self._scheduler()
        steps = request.sampling.steps
        start = (steps - min(int(steps * SECOND_PASS_STRENGTH) or 1, steps)) * second.order
        progress = Progress(self.note, len(first.timesteps) + len(second.timesteps[start:]))
        height, width = first_pass_size(request.height, request.width, model.native_side, model.scale)
        latents = self._noise(height, width) * first.init_noise_sigma
        latents = yield from self._denoised(first, first.timesteps, latents, progress)
        size = (request.height // model.scale, request.width // model.scale)
        latents = functional.interpolate(latents.float(), size, mode="bilinear").to(model.dtype)
        timesteps = second.timesteps[start:]
        second.set_begin_index(start)
        latents = second.add_noise(latents, self._noise(request.height, request.width), timesteps[:1])
        return (yield from self._denoised(second, timesteps, latents, progress))

    def _panorama(self, height: int, width: int) -> Steps[Tensor]:
        """MultiDiffusion (arXiv 2302.08113): overlapping windows of the model's own size, averaged."""
        model = self.guided.kit.model
        start = self._scheduler()
        latents = self._noise(height, width) * start.init_noise_sigma
        windows = views(latents.shape[2], latents.shape[3], model.native_side // model.scale)
        schedulers = [copy.deepcopy(start) for _ in windows]
        guided = yield from self.guided.controlled(latents)
        parts = [guided.within(rows, columns) for rows, columns in windows]
        progress = Progress(self.note, len(start.timesteps))
        for timestep in start.timesteps:
            crops = [latents[:, :, rows, columns] for rows, columns in windows]
            predictions = yield from together(
                [
                    part.predict(each, crop, timestep)
                    for part, each, crop in zip(parts, schedulers, crops, strict=True)
                ]
            )
            total = torch.zeros_like(latents, dtype=torch.float32)  # fp16 can't hold sums of noisy latents
            count = torch.zeros_like(total[:1, :1])
            for index, (rows, columns) in enumerate(windows):
                each = schedulers[index]
                stepped = each.step(predictions[index], timestep, crops[index], **self._options(each))
                total[:, :, rows, columns] += stepped.prev_sample
                count[:, :, rows, columns] += 1
            latents = (total / count).to(model.dtype)
            progress.step()
        return latents

    def _options(self, scheduler: Scheduler) -> Mapping[str, Any]:
        options = {"eta": 0.0, "generator": self.generator}
        return {name: value for name, value in options.items() if name in _step_options(type(scheduler))}


@lru_cache
def _step_options(kind: type[Scheduler]) -> frozenset[str]:
    return frozenset(inspect.signature(kind.step).parameters)


def first_pass_size(height: int, width: int, native: int, scale: int) -> tuple[int, int]:
    """About the model's own number of pixels, in the picture's proportions; never more than the picture's."""
    factor = min(1.0, native / (height * width) ** 0.5)

    def side(pixels: int) -> int:
        return int(max(scale, round(pixels * factor / scale) * scale))

    return side(height), side(width)
