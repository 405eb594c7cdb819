"""Hints by the optional library `controlnet_aux`: soft edges, straight lines, line art, poses.

The library runs in the slot's thread, the forwards of its networks on the engine's (forward.py). The weights
come from a folder laid out like the hub's lllyasviel/Annotators.
"""

import importlib
import logging
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from shared.errors import GenerationFailed
from shared.hints import Tool
from worker.gpu.engine import Pixels
from worker.gpu.hints.forward import OnDevice, Run
from worker.gpu.hints.reading import read_weights

logger = logging.getLogger(__name__)

FILES = {
    Tool.HED: "ControlNetHED.pth",
    Tool.PIDINET: "table5_pidinet.pth",
    Tool.MLSD: "mlsd_large_512_fp32.pth",
    Tool.LINEART: "sk_model.pth",
    Tool.OPENPOSE: "body_pose_model.pth",
}
SMALLEST_SIDE = 64
"""Pixels: the library works on multiples of it, and fails on less."""

LINE_SCORE, LINE_LENGTH = 0.1, 0.1
"""What a straight line must have to be drawn: the library's own choice."""


class Annotator:
    """One of the library's networks."""

    def __init__(self, tool: Tool, module: nn.Module) -> None:
        self.module = module
        self._draw = _DRAWING[tool]

    @classmethod
    def load(cls, tool: Tool, folder: str, device: torch.device) -> "Annotator":
        """Raises `GenerationFailed` if the library or the file is missing, or can't be used.

        Weights stay float32: PiDiNet's convolutions know no other format on GPUs.
        """
        module = _BUILDING[tool]()
        weights = read_weights(f"The network {tool}", Path(folder) / FILES[tool])
        try:
            if tool is Tool.OPENPOSE:  # whose file names its layers without the groups that they are in
                weights = _library("open_pose.util").transfer(module, weights)
            module.load_state_dict(weights)
        except (RuntimeError, KeyError) as exc:
            logger.exception("not loaded", extra={"what": tool})
            raise GenerationFailed(f"{FILES[tool]} on the server does not hold the network {tool}.") from exc
        return cls(tool, module.eval().to(device))

    def hint(self, kind: str, picture: Pixels, run: Run) -> Pixels:
        del kind  # it makes only one
        height, width = picture.shape[:2]
        side = max(SMALLEST_SIDE, min(height, width))
        drawn = self._draw(OnDevice(self.module, run), np.ascontiguousarray(picture), side)
        return np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


@cache
def _library(part: str) -> Any:
    """Only when it is needed: it brings torchvision along, whose build must fit torch's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that nothing here uses
            return importlib.import_module(f"controlnet_aux.{part}")
    except (ImportError, RuntimeError) as exc:  # a torchvision that does not fit raises the latter
        logger.exception("controlnet_aux not imported", extra={"part": part})
        raise GenerationFailed(
            "Hints of this controlnet_type need a library that the server lacks: install the `preprocessors` "
            "extra (pip install 'printworks[preprocessors]') with the torchvision build that fits its torch, "
            "or send the hint itself as control_image with auto_hint no."
        ) from exc


def _soft_edges(network: OnDevice, picture: Pixels, side: int) -> Pixels:
    return _detected(_library("hed").HEDdetector(network), picture, side)


def _pidinet_edges(network: OnDevice, picture: Pixels, side: int) -> Pixels:
    return _detected(_library("pidi").PidiNetDetector(network), picture, side)


def _line_art(network: OnDevice, picture: Pixels, side: int) -> Pixels:
    return _detected(_library("lineart").LineartDetector(network, network), picture, side)


def _straight_lines(network: OnDevice, picture: Pixels, side: int) -> Pixels:
    """The library's own detector would take any error for a picture without lines."""
    resized: Pixels = _library("util").resize_image(picture, side)
    canvas: Pixels = np.zeros_like(resized)
    lines = _library("mlsd.utils").pred_lines(resized, network, resized.shape[:2], LINE_SCORE, LINE_LENGTH)
    for x0, y0, x1, y1 in np.asarray(lines, dtype=int).reshape(-1, 4).tolist():
        cv2.line(canvas, (x0, y0), (x1, y1), (255, 255, 255), 1)
    return canvas


def _poses(network: OnDevice, picture: Pixels, side: int) -> Pixels:
    """Bodies alone: hands and faces have networks of their own, and ControlNets do without."""
    library = _library("open_pose")
    body = object.__new__(library.Body)  # its constructor would read the weights again
    body.model = network
    return _detected(library.OpenposeDetector(body), picture, side)


def _detected(detector: Any, picture: Pixels, side: int) -> Pixels:
    drawn: Pixels = detector(picture, detect_resolution=side, image_resolution=side, output_type="np")
    return drawn


_DRAWING: dict[Tool, Callable[[OnDevice, Pixels, int], Pixels]] = {
    Tool.HED: _soft_edges,
    Tool.PIDINET: _pidinet_edges,
    Tool.MLSD: _straight_lines,
    Tool.LINEART: _line_art,
    Tool.OPENPOSE: _poses,
}
_BUILDING: dict[Tool, Callable[[], Any]] = {
    Tool.HED: lambda: _library("hed").ControlNetHED_Apache2(),
    Tool.PIDINET: lambda: _library("pidi.model").pidinet(),
    Tool.MLSD: lambda: _library("mlsd.models.mbv2_mlsd_large").MobileV2_MLSD_Large(),
    Tool.LINEART: lambda: _library("lineart").Generator(3, 1, 3),
    Tool.OPENPOSE: lambda: _library("open_pose.model").bodypose_model(),
}
