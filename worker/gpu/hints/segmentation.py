"""Hints that show what is where: ADE20K's classes, each in the colour that ControlNets were trained on."""

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import AutoModelForSemanticSegmentation, SegformerImageProcessorPil

from shared.errors import GenerationFailed
from worker.gpu.engine import Pixels
from worker.gpu.hints.forward import Run
from worker.gpu.hints.reading import read_network

KNOWN = ("segformer", "upernet")

PALETTE = np.frombuffer(
    bytes.fromhex(
        "787878b4787806e6e650323204c8037878508c8c8ccc05ffe6e6e604fa07e005ffebff0796053d78784608ff33ff06528fff"
        "8cccff04ff3307cc46030066c83de6faff06330b66ffff0747ff09e00907e6dcdcdcff095c7009ff08ffd607ffe0ffb8060a"
        "ff47ff290a07ffffe0ff086608ffff3d06ffc207ff7a0800ff14ff0829ff05990633ffeb0cffa0961400a3ff8c8c8cfa0a0f"
        "14ff001fff00ff1f00ffe00099ff000000ffff470000ebff00adff1f00ff0bc8c8ff520000fff5003dff00ff7000ff85ff00"
        "00ffa300ff6600c2ff00008fff33ff000052ff00ff2900ffad0a00ffadff0000ff99ff5c00ff00ffff00f5ff0066ffad00ff"
        "0014ffb8b8001fff00ff3d0047ffff00cc00ffc200ff52000aff0070ff3300ff00c2ff007aff00ffa3ff990000ff0aff7000"
        "8fff005200ffa3ff00ffeb0008b8aa8500ff00ff5cb800ffff001f00b8ff00d6ffff00705cff0000e0ff70e0ff46b8a0a300"
        "ff9900ff47ff00ff00a3ffcc00ff008f00ffeb85ff00ff00ebf500ffff007afff5000abed4d6ff0000ccff1400ffffff0000"
        "99ff0029ff00ffcc2900ff29ff00ad00ff00f5ff4700ff7a00ff00ffb8005cffb8ff000085ffffd60019c2c266ff005c00ff"
    ),
    dtype=np.uint8,
).reshape(-1, 3)
"""(150, 3): the colour of each of ADE20K's classes, as its publishers draw them."""


class Segmenter:
    """Makes the hint `segmentation`."""

    def __init__(self, model: nn.Module, processor: SegformerImageProcessorPil) -> None:
        self.module = _Classes(model)
        self._processor = processor

    @classmethod
    def load(cls, source: str, device: torch.device, dtype: torch.dtype) -> "Segmenter":
        """`source` is a folder or a hub id.

        Raises `GenerationFailed` if it holds no whole model of a known kind for ADE20K's classes.
        """
        model, processor = read_network(
            "The segmenter", AutoModelForSemanticSegmentation, SegformerImageProcessorPil, source, KNOWN
        )
        if model.config.num_labels != len(PALETTE):
            raise GenerationFailed(f"The segmenter must know the {len(PALETTE)} classes of ADE20K.")
        return cls(model.to(device, dtype), processor)

    def hint(self, kind: str, picture: Pixels, run: Run) -> Pixels:
        del kind  # it makes only one
        seen = self._processor(picture, return_tensors="pt").pixel_values
        classes = run(self.module, seen)[0].numpy()
        height, width = picture.shape[:2]
        colours: Pixels = PALETTE[cv2.resize(classes, (width, height), interpolation=cv2.INTER_NEAREST)]
        return colours


class _Classes(nn.Module):
    """The likeliest class of each pixel: uint8 (rows, height, width). 150 maps are too much to carry away."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, seen: Tensor) -> Tensor:
        scores = self.model(pixel_values=seen).logits
        whole = interpolate(scores, seen.shape[2:], mode="bilinear", align_corners=False)
        return whole.argmax(1).to(torch.uint8)
