"""The program that makes one film: a whole diffusers call that gives way to the other lanes at every step."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.errors import GenerationFailed
from worker.gpu.engine import Note, Pause, Steps, solo
from worker.gpu.filming.model import Canvas, VideoModel
from worker.gpu.filming.request import FilmRequest

OUT_OF_RANGE = "The model's numbers ran out of range: send a lower guidance_scale."

Frames = NDArray[np.uint8]
"""frames x height x width x 3, RGB, 0 to 255."""


@dataclass(frozen=True)
class Film:
    frames: Frames
    fps: int


def film(model: VideoModel, request: FilmRequest, note: Note) -> Steps[Film]:
    """The film equals what the stock pipeline makes of the same arguments with a generator on the CPU.

    Raises `GenerationFailed` for what this model can't make.
    """
    frames = yield from solo(partial(_filmed, model, request, model.canvas(request)), note)
    return Film(frames, request.fps)


def _filmed(model: VideoModel, request: FilmRequest, canvas: Canvas, pause: Pause) -> Frames:
    pipeline = model.pipeline(request.sampling)
    pipeline.set_progress_bar_config(disable=True)

    def step_done(_pipeline: object, step: int, *_: object) -> dict[str, Any]:
        pause((step + 1) / pipeline.num_timesteps)
        return {}

    made: torch.Tensor = pipeline(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=canvas.width,
        height=canvas.height,
        num_frames=canvas.frames,
        num_inference_steps=request.sampling.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator().manual_seed(request.seed),
        output_type="pt",
        callback_on_step_end=step_done,
        callback_on_step_end_tensor_inputs=[],
        **model.call_options,
    ).frames[0]
    return _levels(_cut(made, request))


def _cut(made: torch.Tensor, request: FilmRequest) -> torch.Tensor:
    """The film out of the canvas: its first frames, and of each the middle."""
    top, left = (made.shape[2] - request.height) // 2, (made.shape[3] - request.width) // 2
    return made[: request.frames, :, top : top + request.height, left : left + request.width]


def _levels(film: torch.Tensor) -> Frames:
    """0 to 1 as whole numbers; raises `GenerationFailed` for what is no number."""
    if not torch.isfinite(film).all():
        raise GenerationFailed(OUT_OF_RANGE)
    levels: Frames = (film.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return levels
