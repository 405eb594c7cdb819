"""Tiny safety checkers and upscalers in the real formats, and drawings to try them on."""

from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPVisionConfig,
    Swin2SRConfig,
    Swin2SRForImageSuperResolution,
)

from deploy.demo.drawing import draw_anything
from worker.gpu.engine.rendering import Pixels

DEMO_UPSCALER = Path("deploy/demo/upscaler")
HELD_OUT = 100_000
"""Drawings with seeds from here on are never drawn for training."""

ALWAYS, NEVER = -1.0, 1.0
"""Thresholds of similarity above which a checker flags a picture: below and above what can be."""

CHECKER_SIDE = 32


def safety_checker(threshold: float, seed: int = 0) -> StableDiffusionSafetyChecker:
    """Random but for the threshold, which is the same for all its concepts."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4}
    words = {"vocab_size": 1000, "bos_token_id": 998, "eos_token_id": 999, "num_hidden_layers": 1}
    vision = CLIPVisionConfig(image_size=CHECKER_SIDE, patch_size=8, num_hidden_layers=2, **sizes)
    config = CLIPConfig(
        text_config=CLIPTextConfig(**words, **sizes).to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=32,
    )
    checker = StableDiffusionSafetyChecker(config)
    torch.nn.init.normal_(checker.concept_embeds)
    torch.nn.init.normal_(checker.special_care_embeds)
    torch.nn.init.constant_(checker.concept_embeds_weights, threshold)
    torch.nn.init.constant_(checker.special_care_embeds_weights, NEVER)
    return checker.eval()


def image_processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(
        size={"shortest_edge": CHECKER_SIDE}, crop_size={"height": CHECKER_SIDE, "width": CHECKER_SIDE}
    )


def save_safety_checker(folder: Path, threshold: float = NEVER, seed: int = 0) -> Path:
    """The checker itself, with its image processor in `feature_extractor/`."""
    safety_checker(threshold, seed).save_pretrained(folder, safe_serialization=True)
    image_processor().save_pretrained(folder / "feature_extractor")
    return folder


def save_swin2sr(folder: Path, scale: int, upsampler: str = "pixelshuffle", seed: int = 0) -> Path:
    """A random upscaler: right in shape, meaningless in content."""
    torch.manual_seed(seed)
    config = Swin2SRConfig(
        embed_dim=8,
        depths=[2],
        num_heads=[2],
        window_size=8,
        drop_path_rate=0.0,
        upscale=scale,
        upsampler=upsampler,
    )
    Swin2SRForImageSuperResolution(config).save_pretrained(folder, safe_serialization=True)
    return folder


def drawing(index: int, side: int) -> Image.Image:
    """A drawing that no training has seen."""
    return draw_anything(Random(HELD_OUT + index), side=side)


def drawings(count: int, side: int) -> list[Pixels]:
    return [np.array(drawing(index, side)) for index in range(count)]
