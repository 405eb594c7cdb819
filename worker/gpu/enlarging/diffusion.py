"""diffusers' upscalers: pipelines of many steps, one tile at a time, between the steps of other pictures."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionLatentUpscalePipeline,
    StableDiffusionUpscalePipeline,
)

from shared.errors import GenerationFailed
from worker.gpu.engine import Note, Pause, Pixels, Steps, solo
from worker.gpu.enlarging.upscaler import to_input, to_pixels
from worker.gpu.models.loading import QUIETLY

SEED = 0
"""Of every tile's noise. The same noise for all, so that an even picture stays even, and the same picture
comes out the same each time."""
MULTIPLE = 64
"""Pixels: sides that all of the networks can work on; the pipelines shrink pictures of other sides to fit."""


class Diffusion(ABC):
    """A pipeline's weights; every tile has a pipeline and a scheduler of its own over them.

    The prompt is empty: it is not known what the picture shows. So guidance, which leads away from an empty
    prompt, has nothing to do and is off, which takes half the work.
    """

    scale: int
    side: int
    overlap = 64
    num_steps: int
    options: ClassVar[dict[str, object]]
    """What else the pipeline is called with."""
    _family: ClassVar[type[DiffusionPipeline]]
    _extras: ClassVar[dict[str, object]] = {}

    def __init__(self, name: str, pipeline: DiffusionPipeline) -> None:
        self.name = name
        self._pipeline = pipeline

    @classmethod
    def load(cls, name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> Self:
        """Raises what diffusers does for a folder that it can't read."""
        pipeline = cls._family.from_pretrained(folder, **QUIETLY, **cls._extras)
        for part in (pipeline.text_encoder, pipeline.unet):
            part.to(device, dtype)
        pipeline.vae.to(device, cls._vae_dtype(dtype))
        return cls(name, pipeline)

    @staticmethod
    @abstractmethod
    def _vae_dtype(dtype: torch.dtype) -> torch.dtype:
        """In what the pipeline's autoencoder works when the rest does in `dtype`."""

    def steps(self, tiles: Sequence[Pixels], _alone: object, note: Note) -> Steps[list[Pixels]]:
        enlarged = []
        for index, tile in enumerate(tiles):

            def work(pause: Pause, tile: Pixels = tile) -> Pixels:
                return self._enlarge(tile, pause)

            def note_tile(share: float, done: int = index) -> None:
                note((done + share) / len(tiles))

            enlarged.append((yield from solo(work, note_tile)))
        return enlarged

    def _enlarge(self, tile: Pixels, pause: Pause) -> Pixels:
        height, width, _ = tile.shape
        padding = ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
        padded = np.pad(tile, padding, mode="symmetric")
        pipeline = self._twin()
        result = pipeline(
            "",
            image=to_input([padded], pipeline.device, torch.float32),
            num_inference_steps=self.num_steps,
            generator=torch.Generator().manual_seed(SEED),
            callback=lambda step, *_: pause((step + 1) / self.num_steps),
            output_type="pt",
            **self.options,
        )
        if not torch.isfinite(result.images).all():
            raise GenerationFailed(f"Upscaler {self.name}'s numbers ran out of range: use another one.")
        return to_pixels(result.images)[0][: height * self.scale, : width * self.scale]

    def _twin(self) -> Any:
        """Over the same weights, so that calls in progress don't share a scheduler's state."""
        scheduler = type(self._pipeline.scheduler).from_config(self._pipeline.scheduler.config)
        twin = type(self._pipeline)(**(self._pipeline.components | {"scheduler": scheduler}))
        twin.set_progress_bar_config(disable=True)
        return twin


class LatentUpscale(Diffusion):
    """Twice as large, in the latents: stabilityai's sd-x2-latent-upscaler and its like."""

    scale = 2
    side = 512
    num_steps = 20
    options: ClassVar[dict[str, object]] = {"guidance_scale": 0}
    _family = StableDiffusionLatentUpscalePipeline

    @staticmethod
    def _vae_dtype(dtype: torch.dtype) -> torch.dtype:
        return dtype


class ImageUpscale(Diffusion):
    """Four times as large: stabilityai's stable-diffusion-x4-upscaler and its like."""

    scale = 4
    side = 256
    num_steps = 40
    options: ClassVar[dict[str, object]] = {"guidance_scale": 1, "noise_level": 20}
    """The noise that the network is told of and may take for more than noise: the pipeline's own default."""
    _family = StableDiffusionUpscalePipeline
    _extras: ClassVar[dict[str, object]] = {
        "safety_checker": None,
        "feature_extractor": None,
        "watermarker": None,
    }

    @staticmethod
    def _vae_dtype(dtype: torch.dtype) -> torch.dtype:
        """In fp16 it overflows."""
        return torch.float32 if dtype is torch.float16 else dtype


FAMILIES: dict[str, type[Diffusion]] = {
    family.__name__: kind
    for family, kind in (
        (StableDiffusionLatentUpscalePipeline, LatentUpscale),
        (StableDiffusionUpscalePipeline, ImageUpscale),
    )
}
"""By the `_class_name` in a folder's model_index.json."""
