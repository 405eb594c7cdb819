"""Enlarges pictures with a network: Swin2SR from transformers, or a file of the ESRGAN family.

Knows nothing of large pictures: these are cut into tiles (tiling.py), which come here in batches.
"""

import importlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import Swin2SRForImageSuperResolution

from shared.errors import GenerationFailed
from worker.gpu.engine.rendering import Pixels
from worker.gpu.finishing.tiling import resize_to

logger = logging.getLogger(__name__)

FILE_SUFFIXES = (".safetensors", ".pth")


class Upscaler(Protocol):
    """Makes every picture `scale` times as wide and as high."""

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> int: ...

    def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
        """All in one forward; they must be of one shape."""
        ...


class Swin2SR:
    """A Swin2SR checkpoint in transformers' layout."""

    def __init__(self, name: str, model: Swin2SRForImageSuperResolution) -> None:
        self.name = name
        self.scale = int(model.config.upscale)
        self._model = model.eval()

    @classmethod
    def load(cls, name: str, source: str, device: torch.device, dtype: torch.dtype) -> "Swin2SR":
        try:
            model, report = Swin2SRForImageSuperResolution.from_pretrained(
                source,
                dtype=torch.float32,  # another format would become the whole process's default meanwhile
                use_safetensors=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
            raise _unreadable(name) from exc
        if report["missing_keys"]:
            raise GenerationFailed(f"Upscaler {name} is not whole: weights are missing in it.")
        if model.config.upscale < 2:
            raise GenerationFailed(f"Upscaler {name} does not enlarge pictures: it only cleans them.")
        return cls(name, model.to(device, dtype))

    @torch.inference_mode()
    def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
        if not tiles:
            return []
        height, width, _ = tiles[0].shape
        margin = window = self._model.config.window_size
        # The model fails on sides that are no multiple of its window, and is at a loss at bare borders.
        padding = ((margin, margin + -height % window), (margin, margin + -width % window), (0, 0))
        padded = [np.pad(tile, padding, mode="symmetric") for tile in tiles]
        seen = _to_input(padded, self._model.device, self._model.dtype)
        enlarged = self._model(seen).reconstruction
        first, height, width = margin * self.scale, height * self.scale, width * self.scale
        return _to_pixels(enlarged[..., first : first + height, first : first + width])


class Spandrel:
    """One file of weights that the optional library `spandrel` knows: ESRGAN, Real-ESRGAN and their like."""

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self.scale = int(model.scale)
        self._model = model

    @classmethod
    def load(cls, name: str, source: str, device: torch.device, dtype: torch.dtype) -> "Spandrel":
        spandrel = _import_spandrel(name)
        try:
            model = spandrel.ModelLoader().load_from_file(source).eval()
        except (OSError, ValueError, RuntimeError, SafetensorError, spandrel.UnsupportedModelError) as exc:
            raise _unreadable(name) from exc
        if (model.input_channels, model.output_channels) != (3, 3) or model.scale < 2:
            raise GenerationFailed(f"Upscaler {name} is no model that enlarges pictures in colour.")
        fits = dtype != torch.float16 or model.supports_half
        return cls(name, model.to(device, dtype if fits else torch.float32))

    @torch.inference_mode()
    def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
        return (
            _to_pixels(self._model(_to_input(tiles, self._model.device, self._model.dtype))) if tiles else []
        )


def load_upscaler(name: str, source: str, device: torch.device, dtype: torch.dtype) -> Upscaler:
    """`source` is a folder in transformers' layout or a file of weights.

    Raises `GenerationFailed` if it is none of these or can't be read.
    """
    path = Path(source)
    if path.suffix in FILE_SUFFIXES:
        return Spandrel.load(name, source, device, dtype)
    _expect_swin2sr(name, path)
    return Swin2SR.load(name, source, device, dtype)


def lanczos(picture: Pixels, factor: int) -> Pixels:
    """Enlarged without a network."""
    height, width, _ = picture.shape
    return resize_to(picture, (width * factor, height * factor))


def _expect_swin2sr(name: str, folder: Path) -> None:
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError) as exc:
        raise _unreadable(name) from exc
    if kind != "swin2sr":
        raise GenerationFailed(f"Upscaler {name} is a {kind} model; folders must hold a swin2sr one.")


def _import_spandrel(name: str) -> Any:
    """Only when it is needed: it brings torchvision along, whose build must fit torch's."""
    try:
        return importlib.import_module("spandrel")
    except (ImportError, RuntimeError) as exc:  # a torchvision that does not fit raises the latter
        logger.exception("spandrel not imported", extra={"upscaler": name})
        raise GenerationFailed(
            f"Upscaler {name} needs a library that the server lacks: install the `esrgan` extra "
            "(pip install 'printworks[esrgan]') with the torchvision build that fits its torch."
        ) from exc


def _unreadable(name: str) -> GenerationFailed:
    return GenerationFailed(f"Upscaler {name} can't be loaded on the server.")


def _to_input(tiles: Sequence[Pixels], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    stacked = torch.from_numpy(np.stack(tiles)).to(device)
    return (stacked.permute(0, 3, 1, 2).float() / 255).to(dtype)


def _to_pixels(enlarged: torch.Tensor) -> list[Pixels]:
    levels = (enlarged.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
