"""Hints of depth, and of the directions that surfaces face, from a depth estimator of transformers."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForDepthEstimation, DPTImageProcessorPil

from shared.errors import GenerationFailed
from worker.gpu.engine import Pixels
from worker.gpu.hints.forward import Run
from worker.gpu.hints.reading import read_network

KNOWN = ("dpt", "depth_anything")
"""Kinds of models that tell how near things are, up to an unknown scale."""

FLATNESS = 1.0
"""How steep slopes look: from far to near it is as deep as the shorter side is long, divided by this."""


class DepthEstimator:
    """Makes the hints `depth` and `normal`."""

    def __init__(self, model: nn.Module, processor: DPTImageProcessorPil) -> None:
        self.module = _Nearness(model)
        self._processor = processor

    @classmethod
    def load(cls, source: str, device: torch.device, dtype: torch.dtype) -> "DepthEstimator":
        """`source` is a folder or a hub id.

        Raises `GenerationFailed` if it holds no whole model of a known kind.
        """
        model, processor = read_network(
            "The depth estimator", AutoModelForDepthEstimation, DPTImageProcessorPil, source, KNOWN
        )
        if getattr(model.config, "depth_estimation_type", "relative") != "relative":
            raise GenerationFailed(
                "The depth estimator measures in metres: one for relative depth is needed."
            )
        return cls(model.to(device, dtype), processor)

    def hint(self, kind: str, picture: Pixels, run: Run) -> Pixels:
        seen = self._processor(picture, return_tensors="pt").pixel_values
        near = run(self.module, seen)[0].numpy()
        height, width = picture.shape[:2]
        near = _spread(cv2.resize(near, (width, height), interpolation=cv2.INTER_CUBIC))
        return _gray(near) if kind == "depth" else normals(near)


class _Nearness(nn.Module):
    """The model without the packaging of its output: (rows, height, width)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, seen: Tensor) -> Tensor:
        near: Tensor = self.model(pixel_values=seen).predicted_depth
        return near


def normals(near: NDArray[np.float32]) -> Pixels:
    """The directions that surfaces face: red to the left, green up, blue towards the viewer.

    `near` (height, width) is 0 for the farthest and 1 for the nearest.
    """
    down, right = np.gradient(near * min(near.shape))
    facing = np.stack([right, down, np.full_like(near, FLATNESS)], axis=2)
    facing /= np.linalg.norm(facing, axis=2, keepdims=True)
    return (facing * 127.5 + 127.5).round().astype(np.uint8)


def _spread(near: NDArray[np.float32]) -> NDArray[np.float32]:
    """From 0 to 1, or all 0 where there is no difference."""
    return np.asarray((near - near.min()) / max(float(np.ptp(near)), 1e-6), dtype=np.float32)


def _gray(near: NDArray[np.float32]) -> Pixels:
    levels = (near * 255).round().astype(np.uint8)
    return np.repeat(levels[:, :, None], 3, axis=2)
