"""The autoencoder: 8x8 pixels to 4 latent numbers and back, learnt on crops of drawings.

Not for the last polish of the decoder (decoder.py), which comes when the latents are settled.
"""

import logging
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from deploy.demo.drawing import draw, draw_anything, random_scene
from deploy.demo.training.pace import Average, cosine, set_learning_rate, steps_for

logger = logging.getLogger(__name__)

PHASES = ((32, 32, 0.25), (64, 12, 0.45), (128, 4, 0.30))
"""Side of the crops, pictures in a batch, share of the time."""

LEARNING_RATE = 2e-3
COLOUR_GAIN = 1.5
"""The first three latents are drawn towards this times the mean colour of their 8x8 pixels: a UNet finds
colours sooner in latents that hold them plainly."""


def new_vae() -> AutoencoderKL:
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 48, 64),
        layers_per_block=1,
        norm_num_groups=1,
        sample_size=128,
    )
    # Latents start almost free of noise: from a deviation of 1, the first minute would only unlearn it.
    nn.init.constant_(vae.quant_conv.bias[4:], -5.0)
    return vae


def to_pixels(pictures: list[Image.Image]) -> Tensor:
    """Pictures as bytes, channels first."""
    return (
        torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        .permute(0, 3, 1, 2)
        .contiguous()
    )


def to_input(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1


def edge_error(decoded: Tensor, wanted: Tensor) -> Tensor:
    """How far the differences between neighbouring pixels are off: what keeps edges sharp."""
    across = (decoded.diff(dim=3) - wanted.diff(dim=3)).abs().mean()
    down = (decoded.diff(dim=2) - wanted.diff(dim=2)).abs().mean()
    return across + down


def train_vae(folder: Path, *, minutes: float, seed: int) -> None:
    torch.manual_seed(seed)
    rng = Random(seed)
    vae = new_vae().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        vae.parameters(), lr=LEARNING_RATE, weight_decay=1e-4, betas=(0.9, 0.99), fused=True
    )
    average = Average(vae.parameters(), decay=0.995)
    steps, before = 0, 0.0
    for side, batch, share in PHASES:
        pixels = _crops(rng, side=side, count=5000 if side < 128 else 2500)
        for _, within in steps_for(minutes * share):
            progress = before + share * within
            set_learning_rate(optimizer, LEARNING_RATE * cosine(steps, progress, warmup=100))
            chosen = pixels[torch.randint(len(pixels), (batch,))]
            loss = _loss(vae, _varied(to_input(chosen), rng), progress=progress)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0, foreach=True)
            optimizer.step()
            average.update()
            steps += 1
            if steps % 100 == 0:
                logger.info("vae", extra={"step": steps, "side": side, "loss": round(loss.item(), 4)})
        before += share
    average.swap()
    _standardise(vae, rng)
    vae.save_pretrained(folder)


def _crops(rng: Random, *, side: int, count: int) -> Tensor:
    """Pieces of pictures of several sizes, so that edges look as they do from 64 to 512 px."""
    pieces: list[Image.Image] = []
    while len(pieces) < count:
        whole = draw_anything(
            rng, side=rng.choice([side, max(64, side), max(128, side), max(2 * side, 128), 256])
        )
        spare = whole.width - side
        for _ in range(3 if spare else 1):
            x, y = rng.randint(0, spare), rng.randint(0, spare)
            pieces.append(whole.crop((x, y, x + side, y + side)))
    return to_pixels(pieces[:count])


def _varied(images: Tensor, rng: Random) -> Tensor:
    """Mirrored, turned, and with its colour channels exchanged: none of which changes what an edge is."""
    if rng.random() < 0.5:
        images = images.flip(3)
    if rng.random() < 0.5:
        images = images.flip(2)
    if rng.random() < 0.5:
        images = images.transpose(2, 3)
    return images[:, torch.randperm(3)].contiguous(memory_format=torch.channels_last)


def _loss(vae: AutoencoderKL, images: Tensor, *, progress: float) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(images).latent_dist
        mean: Tensor = posterior.mean.float()
        log_variance: Tensor = posterior.logvar.float()
        noise = torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        decoded: Tensor = vae.decode(mean + noise).sample.float()
    error = (decoded - images).abs().mean() + 2 * (decoded - images).square().mean()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    colours = (mean[:, :3] - COLOUR_GAIN * functional.avg_pool2d(images, 8)).square().mean()
    return error + 0.6 * progress * edge_error(decoded, images) + 1e-4 * divergence + 0.1 * colours


@torch.no_grad()
def _standardise(vae: AutoencoderKL, rng: Random) -> None:
    """Fold each latent channel's mean and spread into the 1x1 convolutions, so that the UNet sees 0 and 1."""
    pixels = to_pixels([draw(random_scene(rng), rng, side=128) for _ in range(400)])
    latents = torch.cat([vae.encode(to_input(part)).latent_dist.mean for part in pixels.split(50)])
    mean, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    quant, back = vae.quant_conv, vae.post_quant_conv
    quant.weight[:4] /= spread.view(4, 1, 1, 1)
    quant.bias[:4] = (quant.bias[:4] - mean) / spread
    quant.bias[4:] -= 2 * spread.log()
    back.bias += (back.weight[:, :, 0, 0] @ mean.view(4, 1)).view(4)
    back.weight *= spread.view(1, 4, 1, 1)
    vae.register_to_config(scaling_factor=1.0)
