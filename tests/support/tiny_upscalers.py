"""Tiny random upscalers in the real formats, and tiles enlarged without an engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionLatentUpscalePipeline,
    StableDiffusionUpscalePipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file

from tests.support import tiny
from worker.gpu.engine import Pixels, Steps
from worker.gpu.enlarging import Upscaler
from worker.gpu.enlarging.upscaler import Network

R = TypeVar("R")

GROWTH = 32
"""What every convolution of an ESRGAN block adds; files of another growth are not read."""
NOISE_LEVELS = 64
"""Numbers that tell the doubling network the noise, twice as many in all, beside the pooled prompt."""


def run(program: Steps[R]) -> R:
    """What it returns, without an engine; all asks of a step must be of one lane."""
    try:
        asks = next(program)
        while True:
            asks = program.send(list(asks[0].answer(asks)))
    except StopIteration as end:
        result: R = end.value
        return result


def enlarge(upscaler: Upscaler, tiles: Sequence[Pixels]) -> list[Pixels]:
    """All tiles, which are of one shape, in one forward where the upscaler works that way; each is a picture
    of its own."""
    return run(upscaler.steps(tiles, [(0, 0)] * len(tiles), None, lambda _: None))


class Repeating(Network):
    """Repeats each pixel; slow networks and their memory are not what is tried with it."""

    def __init__(self, scale: int, side: int = 32, overlap: int = 8) -> None:
        self.name = "repeating"
        self.scale, self.side, self.overlap = scale, side, overlap

    def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
        return [tile.repeat(self.scale, axis=0).repeat(self.scale, axis=1) for tile in tiles]


def save_latent_upscaler(folder: Path, seed: int = 0) -> Path:
    """Doubles pictures in the latents."""
    torch.manual_seed(seed)
    vocabulary = tiny.tokenizer()
    pipeline = StableDiffusionLatentUpscalePipeline(
        vae=tiny.vae(),
        text_encoder=tiny.text_encoder(vocabulary),
        tokenizer=vocabulary,
        unet=UNet2DConditionModel(
            in_channels=8,
            out_channels=5,
            conv_in_kernel=1,
            conv_out_kernel=1,
            block_out_channels=(32, 32, 64, 64),
            layers_per_block=1,
            down_block_types=("KDownBlock2D", *["KCrossAttnDownBlock2D"] * 3),
            mid_block_type=None,
            up_block_types=(*["KCrossAttnUpBlock2D"] * 3, "KUpBlock2D"),
            cross_attention_dim=tiny.WIDTH,
            attention_head_dim=8,
            only_cross_attention=False,
            norm_num_groups=None,
            act_fn="gelu",
            resnet_time_scale_shift="scale_shift",
            time_embedding_type="fourier",
            timestep_post_act="gelu",
            time_cond_proj_dim=2 * NOISE_LEVELS + tiny.WIDTH,
        ).eval(),
        scheduler=EulerDiscreteScheduler(prediction_type="sample"),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def save_image_upscaler(folder: Path, seed: int = 0) -> Path:
    """Makes pictures four times as large."""
    torch.manual_seed(seed)
    vocabulary = tiny.tokenizer()
    pipeline = StableDiffusionUpscalePipeline(
        vae=AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 3,
            up_block_types=["UpDecoderBlock2D"] * 3,
            block_out_channels=(8, 8, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            scaling_factor=0.08333,
        ).eval(),
        text_encoder=tiny.text_encoder(vocabulary),
        tokenizer=vocabulary,
        unet=UNet2DConditionModel(
            in_channels=7,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(16, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=tiny.WIDTH,
            attention_head_dim=4,
            norm_num_groups=8,
            use_linear_projection=True,
            only_cross_attention=(True, False),
            num_class_embeds=100,
        ).eval(),
        low_res_scheduler=DDPMScheduler(),
        scheduler=DDIMScheduler(prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def save_compact_esrgan(file: Path, scale: int, *, features: int = 8, channels: int = 3) -> Path:
    """Real-ESRGAN's compact network with weights of zero: all it does is to repeat each pixel."""
    last = channels * scale**2
    shapes = {
        "body.0.weight": (features, channels, 3, 3),
        "body.0.bias": (features,),
        "body.1.weight": (features,),
        "body.2.weight": (features, features, 3, 3),
        "body.2.bias": (features,),
        "body.3.weight": (features,),
        "body.4.weight": (last, features, 3, 3),
        "body.4.bias": (last,),
    }
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, file)
    return file


def save_esrgan(file: Path, seed: int = 0, features: int = 8) -> Path:
    """A random network of ESRGAN, four times, in the names of its authors' newer files: one block of three
    dense ones, in which each convolution sees what all before it made."""
    torch.manual_seed(seed)
    sizes = {"conv_first": (features, 3)}
    for dense in ("body.0.rdb1", "body.0.rdb2", "body.0.rdb3"):
        for index in range(1, 6):
            made = features if index == 5 else GROWTH
            sizes[f"{dense}.conv{index}"] = (made, features + (index - 1) * GROWTH)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        sizes[name] = (features, features)
    sizes["conv_last"] = (3, features)
    weights = {}
    for name, (made, seen) in sizes.items():
        weights[f"{name}.weight"] = torch.randn(made, seen, 3, 3) / (9 * seen) ** 0.5
        weights[f"{name}.bias"] = torch.zeros(made)
    weights["conv_last.bias"] += 0.5
    save_file(weights, file)
    return file
