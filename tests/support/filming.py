"""Films from the engine, and what diffusers' own pipelines make of the same arguments."""

from functools import partial
from typing import Any

import diffusers
import numpy as np
import torch

from worker.gpu.engine import Engine, Rendering
from worker.gpu.filming import Film, FilmRequest, VideoModel, film
from worker.gpu.filming.film import Frames
from worker.gpu.schedulers import Sampling


def film_request(**changes: Any) -> FilmRequest:
    """A small, short film; `scheduler` and `steps` are short for its sampling."""
    name, steps = changes.pop("scheduler", "UniPCMultistepScheduler"), changes.pop("steps", 3)
    values: dict[str, Any] = {
        "prompt": "a red circle",
        "negative_prompt": "blurry",
        "width": 64,
        "height": 48,
        "frames": 5,
        "fps": 8,
        "sampling": Sampling(name, steps),
        "guidance_scale": 5.0,
        "seed": 1,
    }
    return FilmRequest(**(values | changes))


def submit_film(engine: Engine, model: VideoModel, *requests: FilmRequest) -> Rendering[Film]:
    return engine.submit([partial(film, model, each) for each in requests])


def filmed(engine: Engine, model: VideoModel, wanted: FilmRequest) -> Frames:
    return submit_film(engine, model, wanted).result()[0].frames


def stock_film(
    pipeline: diffusers.DiffusionPipeline, scheduler: Any, wanted: FilmRequest, **options: Any
) -> Frames:
    """What the stock pipeline makes of the same arguments, with this scheduler."""
    base, pipeline.scheduler = pipeline.scheduler, scheduler
    arguments: dict[str, Any] = {
        "prompt": wanted.prompt,
        "negative_prompt": wanted.negative_prompt,
        "width": wanted.width,
        "height": wanted.height,
        "num_frames": wanted.frames,
        "num_inference_steps": wanted.sampling.steps,
        "guidance_scale": wanted.guidance_scale,
        "generator": torch.Generator().manual_seed(wanted.seed),
        "output_type": "np",
    }
    try:
        frames = pipeline(**(arguments | options)).frames[0]
    finally:
        pipeline.scheduler = base
    levels: Frames = (frames * 255).round().astype(np.uint8)
    return levels
