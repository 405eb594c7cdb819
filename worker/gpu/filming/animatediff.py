"""AnimateDiff (arXiv:2307.04725): Stable Diffusion 1.x, with a UNet that also attends from frame to frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffusers import AnimateDiffPipeline
from torch import nn

from shared.errors import GenerationFailed
from worker.gpu.filming.model import Canvas
from worker.gpu.filming.request import FilmRequest
from worker.gpu.schedulers import Ran, Sampling, make_scheduler, what_runs

FRAMES_DECODED_AT_ONCE = 2
"""More gain nothing and take the most memory of the whole film."""


@dataclass(frozen=True)
class AnimateDiff:
    """Takes every scheduler that pictures take, and any size in multiples of 8."""

    video_id: str
    parts: Mapping[str, Any]
    """The pipeline's components but its scheduler; the UNet has the motion modules in it."""
    scheduler_config: Mapping[str, Any]

    @property
    def call_options(self) -> Mapping[str, Any]:
        return {"decode_chunk_size": FRAMES_DECODED_AT_ONCE}

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        return tuple(part for part in self.parts.values() if isinstance(part, nn.Module))

    def what_runs(self, sampling: Sampling) -> Ran:
        return what_runs(sampling)

    def canvas(self, request: FilmRequest) -> Canvas:
        most = int(self.parts["unet"].config.motion_max_seq_length)
        if request.frames > most:
            raise GenerationFailed(f"Model {self.video_id} makes films of at most {most} frames: send fewer.")
        return Canvas(request.width, request.height, request.frames)

    def pipeline(self, sampling: Sampling) -> AnimateDiffPipeline:
        return AnimateDiffPipeline(**self.parts, scheduler=make_scheduler(sampling, self.scheduler_config))
