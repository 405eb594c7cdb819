"""Tiny networks for hints in the real formats: random, right in shape and meaningless in content."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessorPil,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
)

from worker.gpu.engine import Pixels

SIDE = 32
"""Of the pictures that the networks see."""


def save_depth_estimator(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=SIDE,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    model = DPTForDepthEstimation(config)
    _spread(model.head)
    model.save_pretrained(folder, safe_serialization=True)
    DPTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def save_segmenter(folder: Path, classes: int = 150, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = SegformerConfig(
        num_encoder_blocks=4,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        decoder_hidden_size=16,
        num_attention_heads=[1, 1, 2, 2],
        num_labels=classes,
    )
    model = SegformerForSemanticSegmentation(config)
    _spread(model.decode_head)
    model.save_pretrained(folder, safe_serialization=True)
    SegformerImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def _spread(head: torch.nn.Module) -> None:
    """Larger weights than the library's first ones, so that pixels differ at all."""
    for module in head.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                torch.nn.init.constant_(module.bias, 0.1)


def square(
    *,
    side: int = 128,
    left: int = 40,
    top: int = 24,
    width: int = 48,
    colours: Any = ((30, 70, 220), (220, 30, 30)),
) -> Pixels:
    """A square on an even ground."""
    ground, paint = colours
    picture = np.full((side, side, 3), ground, dtype=np.uint8)
    picture[top : top + width, left : left + width] = paint
    return picture
