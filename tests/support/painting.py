"""Pictures from the engine, and what diffusers' own pipelines make of the same arguments."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import diffusers
import numpy as np
import torch
from PIL import Image

from tests.support.waiting import wait_until
from worker.gpu.engine import Engine, Pixels, Rendering
from worker.gpu.painting import Kit, PictureRequest, Start, paint
from worker.gpu.schedulers import Sampling, make_scheduler

Wanted = TypeVar("Wanted")

STARTING = {
    False: (diffusers.StableDiffusionImg2ImgPipeline, diffusers.StableDiffusionInpaintPipeline),
    True: (diffusers.StableDiffusionXLImg2ImgPipeline, diffusers.StableDiffusionXLInpaintPipeline),
}
"""By whether the model is an SDXL: diffusers' pipelines without and with a mask."""


def request(**changes: Any) -> PictureRequest:
    """A small picture; `scheduler` and `steps` are short for its sampling."""
    name, steps = changes.pop("scheduler", "EulerDiscreteScheduler"), changes.pop("steps", 5)
    values: dict[str, Any] = {
        "prompt": "a red circle",
        "negative_prompt": "blurry",
        "width": 64,
        "height": 64,
        "sampling": Sampling(name, steps),
        "guidance_scale": 7.5,
        "seed": 1,
    }
    return PictureRequest(**(values | changes))


@contextlib.contextmanager
def running_engine(**options: Any) -> Iterator[Engine]:
    values: dict[str, Any] = {"lane_width": 8, "device": torch.device("cpu"), "on_fatal": lambda error: None}
    engine = Engine(**(values | options))
    engine.start()
    yield engine
    engine.close()


def submit(engine: Engine, kit: Kit, *requests: PictureRequest) -> Rendering:
    return engine.submit([partial(paint, kit, each) for each in requests])


def painted(engine: Engine, kit: Kit, wanted: PictureRequest) -> Pixels:
    return submit(engine, kit, wanted).result()[0].develop()


def in_mixed_company(submitted: Callable[[Wanted], Rendering], wanted: Sequence[Wanted]) -> list[Pixels]:
    """The pictures, in their order, when most join while the first four are being painted."""
    renderings = [submitted(each) for each in wanted[:4]]
    wait_until(lambda: renderings[0].progress > 0)
    renderings += [submitted(each) for each in wanted[4:]]
    return [rendering.result()[0].develop() for rendering in renderings]


def stock_picture(pipeline: diffusers.DiffusionPipeline, wanted: PictureRequest, **options: Any) -> Pixels:
    """What the stock pipeline makes of the same arguments, with the scheduler that the request names."""
    base = pipeline.scheduler
    processors = dict(pipeline.unet.attn_processors)
    pipeline.scheduler = make_scheduler(wanted.sampling, base.config)
    arguments: dict[str, Any] = {
        "prompt": wanted.prompt,
        "negative_prompt": wanted.negative_prompt,
        "width": wanted.width,
        "height": wanted.height,
        "num_inference_steps": wanted.sampling.steps,
        "guidance_scale": wanted.guidance_scale,
        "generator": torch.Generator().manual_seed(wanted.seed),
        "output_type": "np",
    }
    known = inspect.signature(type(pipeline).__call__).parameters
    arguments = {
        name: value for name, value in arguments.items() if name in known
    }  # some go by a picture's size
    try:
        pictures = pipeline(**(arguments | options)).images
    finally:
        pipeline.scheduler = base
        pipeline.unet.set_attn_processor(processors)
    picture: Pixels = (pictures[0] * 255).round().astype(np.uint8)
    return picture


def started_stock_picture(
    pipeline: diffusers.DiffusionPipeline, wanted: PictureRequest, start: Start, **options: Any
) -> Pixels:
    """What diffusers' image-to-image pipeline makes of the same start, or its inpainting one if there is a
    mask; the picture as it is decoded, with what the mask keeps only as the model has it."""
    kinds = STARTING[isinstance(pipeline, diffusers.StableDiffusionXLPipeline)]
    images: dict[str, Any] = {"image": Image.fromarray(start.pixels), "strength": start.strength}
    if start.mask is not None:
        images["mask_image"] = Image.fromarray(start.mask)
    stock = sibling(kinds[start.mask is not None], pipeline)
    return stock_picture(stock, wanted, **(images | options))


def sibling(
    kind: type[diffusers.DiffusionPipeline], pipeline: diffusers.DiffusionPipeline, **options: Any
) -> diffusers.DiffusionPipeline:
    """Another pipeline over the same weights."""
    parts = {
        name: part
        for name, part in pipeline.components.items()
        if part is not None or name in ("safety_checker", "feature_extractor")
    }
    is_xl = isinstance(pipeline, diffusers.StableDiffusionXLPipeline)
    options = {"add_watermarker" if is_xl else "requires_safety_checker": False} | options
    made = kind(**(parts | options))
    made.set_progress_bar_config(disable=True)
    return made


def assert_same(made: Pixels, stock: Pixels) -> None:
    """At most 1/255 apart on at least 99.9 % of the pixels."""
    assert made.shape == stock.shape
    apart = np.abs(made.astype(int) - stock.astype(int))
    assert (apart <= 1).mean() >= 0.999, (
        f"{(apart > 1).mean():.2%} of the pixels differ, by up to {apart.max()}"
    )
