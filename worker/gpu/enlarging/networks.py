"""Upscalers of one forward: Swin2SR from transformers, and files of the ESRGAN family."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import Swin2SRForImageSuperResolution

from shared.errors import GenerationFailed
from worker.gpu.engine import Pixels
from worker.gpu.enlarging.spandrel_files import read_descriptor, unreadable
from worker.gpu.enlarging.upscaler import Network, to_input, to_pixels


class Swin2SR(Network):
    """A Swin2SR checkpoint in transformers' layout."""

    def __init__(self, name: str, model: Swin2SRForImageSuperResolution) -> None:
        self.name = name
        self.scale = int(model.config.upscale)
        self._model = model.eval()

    @classmethod
    def load(cls, name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> Self:
        try:
            model, report = Swin2SRForImageSuperResolution.from_pretrained(
                folder,
                dtype=torch.float32,  # another format would become the whole process's default meanwhile
                use_safetensors=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
            raise unreadable(f"Upscaler {name}") from exc
        if report["missing_keys"]:
            raise GenerationFailed(f"Upscaler {name} is not whole: weights are missing in it.")
        _require_enlarging(name, model.config.upscale)
        return cls(name, model.to(device, dtype))

    @torch.inference_mode()
    def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
        height, width, _ = tiles[0].shape
        margin = window = self._model.config.window_size
        # The model fails on sides that are no multiple of its window, and is at a loss at bare borders.
        padding = ((margin, margin + -height % window), (margin, margin + -width % window), (0, 0))
        padded = [np.pad(tile, padding, mode="symmetric") for tile in tiles]
        seen = to_input(padded, self._model.device, self._model.dtype)
        enlarged = self._model(seen).reconstruction
        first, height, width = margin * self.scale, height * self.scale, width * self.scale
        return to_pixels(enlarged[..., first : first + height, first : first + width])


class Spandrel(Network):
    """One file of weights that the optional library `spandrel` knows: ESRGAN, Real-ESRGAN and their like."""

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self.scale = int(model.scale)
        self._model = model

    @classmethod
    def load(cls, name: str, file: Path, device: torch.device, dtype: torch.dtype) -> Self:
        model = read_descriptor(f"Upscaler {name}", file, device, dtype)
        _require_enlarging(name, model.scale)
        return cls(name, model)

    @torch.inference_mode()
    def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
        return to_pixels(self._model(to_input(tiles, self._model.device, self._model.dtype)))


def _require_enlarging(name: str, scale: int) -> None:
    if scale < 2:
        raise GenerationFailed(f"Upscaler {name} does not enlarge pictures: it only cleans them.")
