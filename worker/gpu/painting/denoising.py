"""To finished latents, from noise or a picture: the plain loop, panoramas, two passes for large pictures."""

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from worker.gpu.engine import Note, Steps, together
from worker.gpu.painting.guidance import Guided
from worker.gpu.painting.request import Start
from worker.gpu.painting.starting import Beginning, Beginnings, begin_at
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
    beginnings: Beginnings = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator("cpu").manual_seed(self.guided.request.seed)
        self.beginnings = Beginnings(self.guided.kit, self.generator, self.guided.alone)

    def run(self) -> Steps[Tensor]:
        """(1, channels, height, width), finished."""
        request = self.guided.request
        if request.start is not None:
            return (yield from self._from_picture(request.start))
        if request.panorama:
            return (yield from self._panorama(request.height, request.width))
        if request.highres_fix:
            return (yield from self._two_passes())
        scheduler = self._scheduler()
        progress = Progress(self.note, len(scheduler.timesteps))
        return (yield from self._from_noise(request.height, request.width, scheduler, progress))

    def _scheduler(self) -> Scheduler:
        return make_scheduler(self.guided.request.sampling, self.guided.kit.model.scheduler_config)

    def _denoised(
        self, scheduler: Scheduler, timesteps: Tensor, beginning: Beginning, progress: Progress
    ) -> Steps[Tensor]:
        options = self._options(scheduler)
        latents = beginning.latents
        guided = yield from replace(self.guided, surroundings=beginning.surroundings).controlled(latents)
        for index, timestep in enumerate(timesteps):
            prediction = yield from guided.predict(scheduler, latents, timestep)
            latents = scheduler.step(prediction, timestep, latents, **options).prev_sample
            if beginning.kept is not None:
                latents = beginning.kept.restore(latents, scheduler, timesteps[index + 1 :])
            progress.step()
        return latents

    def _from_noise(self, height: int, width: int, scheduler: Scheduler, progress: Progress) -> Steps[Tensor]:
        latents = self.beginnings.noise(height, width) * scheduler.init_noise_sigma
        surroundings = yield from self.beginnings.nothing_around(height, width)
        beginning = Beginning(latents, surroundings=surroundings)
        return (yield from self._denoised(scheduler, scheduler.timesteps, beginning, progress))

    def _from_picture(self, start: Start) -> Steps[Tensor]:
        scheduler, steps = self._scheduler(), self.guided.request.sampling.steps
        timesteps = begin_at(scheduler, steps, min(int(steps * start.strength), steps))
        beginning = yield from self.beginnings.at_picture(start, scheduler, timesteps)
        progress = Progress(self.note, len(timesteps))
        return (yield from self._denoised(scheduler, timesteps, beginning, progress))

    def _two_passes(self) -> Steps[Tensor]:
        """A picture of the model's own size first: larger ones get their parts right, not their whole."""
        request, model = self.guided.request, self.guided.kit.model
        first, second = self._scheduler(), self._scheduler()
        steps = request.sampling.steps
        timesteps = begin_at(second, steps, min(int(steps * SECOND_PASS_STRENGTH) or 1, steps))
        progress = Progress(self.note, len(first.timesteps) + len(timesteps))
        height, width = first_pass_size(request.height, request.width, model.native_side, model.scale)
        latents = yield from self._from_noise(height, width, first, progress)
        size = (request.height // model.scale, request.width // model.scale)
        latents = functional.interpolate(latents.float(), size, mode="bilinear").to(model.dtype)
        noise = self.beginnings.noise(request.height, request.width)
        latents = second.add_noise(latents, noise, timesteps[:1])
        surroundings = yield from self.beginnings.nothing_around(request.height, request.width)
        beginning = Beginning(latents, surroundings=surroundings)
        return (yield from self._denoised(second, timesteps, beginning, progress))

    def _panorama(self, height: int, width: int) -> Steps[Tensor]:
        """MultiDiffusion (arXiv 2302.08113): overlapping windows of the model's own size, averaged."""
        model = self.guided.kit.model
        start = self._scheduler()
        latents = self.beginnings.noise(height, width) * start.init_noise_sigma
        windows = views(latents.shape[2], latents.shape[3], model.native_side // model.scale)
        side = model.native_side
        surroundings = yield from self.beginnings.nothing_around(min(height, side), min(width, side))
        guided = yield from replace(self.guided, surroundings=surroundings).controlled(latents)
        schedulers = [copy.deepcopy(start) for _ in windows]
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
