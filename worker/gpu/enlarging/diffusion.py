"""diffusers' upscalers: pipelines of many steps, one tile at a time, between the steps of other pictures."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionLatentUpscalePipeline,
    StableDiffusionUpscalePipeline,
)
from torch import Tensor

from shared.errors import GenerationFailed
from worker.gpu.engine import Note, Pause, Pixels, Steps, solo
from worker.gpu.enlarging.tiling import Place
from worker.gpu.enlarging.upscaler import part_of, to_input, to_pixels
from worker.gpu.models.loading import QUIETLY

SEED = 0
"""Of the noise, so that the same picture comes out the same each time."""
MULTIPLE = 64
"""Pixels: sides that all of the networks can work on; the pipelines shrink pictures of other sides to fit."""


@dataclass(frozen=True)
class _Pattern:
    """Which part of the noise a tile has: of this height and width, at this place in the picture."""

    size: tuple[int, int]
    place: Place

    def at_place(self, noise: Tensor) -> Tensor:
        """The picture's noise here, given that at its first pixel."""
        scales = (have / size for have, size in zip(noise.shape[2:], self.size, strict=True))
        shifts = tuple(-round(at * scale) for at, scale in zip(self.place, scales, strict=True))
        return noise.roll(shifts, dims=(2, 3))


class _Patterned:
    """Pipelines whose tiles begin with their part of the noise."""

    pattern: _Pattern

    def prepare_latents(self, *options: Any) -> Tensor:
        return self.pattern.at_place(super().prepare_latents(*options))  # type: ignore[misc]


class _LatentPipeline(_Patterned, StableDiffusionLatentUpscalePipeline):  # type: ignore[misc]
    pass


class _ImagePipeline(_Patterned, StableDiffusionUpscalePipeline):  # type: ignore[misc]
    pass


class Diffusion(ABC):
    """A pipeline's weights; every tile has a pipeline and schedulers of its own over them.

    The noise belongs to the picture, not to the tile: a pattern of a tile's size, repeated over the whole
    picture. So where tiles overlap they are made of the same noise and agree, and fading one into the other
    blurs nothing.

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

    def steps(
        self, tiles: Sequence[Pixels], places: Sequence[Place], _alone: object, note: Note, /
    ) -> Steps[list[Pixels]]:
        enlarged = []
        for index, (tile, place) in enumerate(zip(tiles, places, strict=True)):
            part = part_of(note, index / len(tiles), 1 / len(tiles))
            enlarged.append((yield from solo(partial(self._enlarge, tile, place), part)))
        return enlarged

    def _enlarge(self, tile: Pixels, place: Place, pause: Pause) -> Pixels:
        height, width, _ = tile.shape
        padding = ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
        padded = np.pad(tile, padding, mode="symmetric")
        pipeline = self._twin(_Pattern(padded.shape[:2], place))
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

    def _twin(self, pattern: _Pattern) -> Any:
        """Over the same weights, so that calls in progress don't share a scheduler's state."""
        parts = self._pipeline.components
        copies = {
            name: type(part).from_config(part.config) for name, part in parts.items() if "scheduler" in name
        }
        twin: Any = type(self._pipeline)(**(parts | copies))
        twin.set_progress_bar_config(disable=True)
        twin.pattern = pattern
        return twin


class LatentUpscale(Diffusion):
    """Twice as large, in the latents: stabilityai's sd-x2-latent-upscaler and its like."""

    scale = 2
    side = 512
    num_steps = 20
    options: ClassVar[dict[str, object]] = {"guidance_scale": 0}
    _family = _LatentPipeline

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
    _family = _ImagePipeline
    _extras: ClassVar[dict[str, object]] = {
        "safety_checker": None,
        "feature_extractor": None,
        "watermarker": None,
    }

    @staticmethod
    def _vae_dtype(dtype: torch.dtype) -> torch.dtype:
        """In fp16 it overflows."""
        return torch.float32 if dtype is torch.float16 else dtype

    def _twin(self, pattern: _Pattern) -> Any:
        """The picture that it sees has noise too."""
        twin = super()._twin(pattern)
        add = twin.low_res_scheduler.add_noise
        twin.low_res_scheduler.add_noise = lambda seen, noise, level: add(
            seen, pattern.at_place(noise), level
        )
        return twin


FAMILIES: dict[str, type[Diffusion]] = {
    family.__name__: kind
    for family, kind in (
        (StableDiffusionLatentUpscalePipeline, LatentUpscale),
        (StableDiffusionUpscalePipeline, ImageUpscale),
    )
}
"""By the `_class_name` in a folder's model_index.json."""
