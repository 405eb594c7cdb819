"""The demo upscaler: a tiny Swin2SR that doubles drawings, learnt on pieces of drawings made small.

Not for using it: that is the GPU worker's part (worker/gpu/enlarging).
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution, Swin2SRImageProcessorPil

from deploy.demo.drawing import draw, draw_anything, random_scene
from deploy.demo.training.pace import Average, cosine, set_learning_rate, steps_for
from deploy.demo.training.vae import to_pixels

logger = logging.getLogger(__name__)

SCALE = 2
BATCH = 12
PIECE = 32
"""Side of the small pieces; the wanted ones are twice as large."""

RIM = 4
"""So many pixels at a small piece's edges are not judged: they lack their neighbours, and whoever enlarges a
picture gives it a margin."""

SIDES = (96, 128, 128, 192, 256, 256, 384, 512)
"""Sides of the drawings before they are made small, the common ones twice."""

PIECES_OF_EACH = 6
FLAT_SHARE = 0.05
"""Pieces of one even colour teach nothing but to leave them alone: this share of them stays."""

FILTERS = (Image.Resampling.BOX, Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
"""Ways to make a drawing small, so that it copes with whatever softened an edge; area averages weigh most."""


def new_upscaler() -> Swin2SRForImageSuperResolution:
    """Random inside, but all in all it begins as a bilinear enlargement and learns what that lacks."""
    config = Swin2SRConfig(
        embed_dim=32,
        depths=[2, 2],
        num_heads=[2, 2],
        window_size=8,
        drop_path_rate=0.0,
        upscale=SCALE,
        upsampler="pixelshuffledirect",
    )
    model = Swin2SRForImageSuperResolution(config)
    first, last = model.swin2sr.first_convolution, model.upsample.conv
    nn.init.kaiming_normal_(first.weight)
    nn.init.zeros_(model.swin2sr.conv_after_body.weight)
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        first.weight[:3] = 0
        for colour in range(3):
            first.weight[colour, colour, 1, 1] = 1
            last.weight[4 * colour : 4 * colour + 4, colour] = _bilinear()
    return model


def _bilinear() -> Tensor:
    """The four 3x3 filters whose results are the four pixels that take one pixel's place."""
    sides = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
    return torch.einsum("iy,jx->ijyx", sides, sides).reshape(4, 3, 3)


@dataclass(frozen=True, kw_only=True)
class UpscalerPlan:
    """One round of training."""

    minutes: float
    drawings: int
    seed: int
    learning_rate: float = 2e-3


def train_upscaler(model: Swin2SRForImageSuperResolution, folder: Path, plan: UpscalerPlan) -> None:
    torch.manual_seed(plan.seed)
    rng = Random(plan.seed)
    small, large = _lessons(rng, drawings=plan.drawings)
    logger.info("%d pieces of drawings", len(small))
    optimizer = torch.optim.Adam(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), fused=True)
    average = Average(model.parameters(), decay=0.997)
    mean_loss = 0.0
    for step, progress in steps_for(plan.minutes):
        set_learning_rate(optimizer, plan.learning_rate * cosine(step, progress, warmup=100))
        rows = torch.randint(len(small), (BATCH,))
        seen, wanted = _varied(small[rows] / 255.0, large[rows] / 255.0, rng)
        error = _inside(model(seen).reconstruction) - _inside(wanted)
        loss = error.abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        average.update()
        mean_loss += (loss.item() - mean_loss) / min(step + 1, 100)
        if step % 100 == 0:
            logger.info("step %d, %.0f %% of the time, loss %.5f", step, 100 * progress, mean_loss)
    average.swap()
    model.half().save_pretrained(folder)
    Swin2SRImageProcessorPil(size_divisor=model.config.window_size).save_pretrained(folder)


def _inside(images: Tensor) -> Tensor:
    rim = SCALE * RIM
    return images[..., rim:-rim, rim:-rim]


def _lessons(rng: Random, *, drawings: int) -> tuple[Tensor, Tensor]:
    """Pieces of drawings, small and large, as bytes: mostly such with an edge in them."""
    small: list[Image.Image] = []
    large: list[Image.Image] = []
    for _ in range(drawings):
        side = rng.choice(SIDES)
        whole = (
            draw(random_scene(rng), rng, side=side) if rng.random() < 0.5 else draw_anything(rng, side=side)
        )
        reduced = whole.resize((side // SCALE, side // SCALE), rng.choice(FILTERS))
        for _ in range(PIECES_OF_EACH):
            left, top = (SCALE * rng.randint(0, side // SCALE - PIECE) for _ in range(2))
            wanted = whole.crop((left, top, left + SCALE * PIECE, top + SCALE * PIECE))
            if _is_flat(wanted) and rng.random() > FLAT_SHARE:
                continue
            large.append(wanted)
            x, y = left // SCALE, top // SCALE
            small.append(reduced.crop((x, y, x + PIECE, y + PIECE)))
    return to_pixels(small), to_pixels(large)


def _is_flat(piece: Image.Image) -> bool:
    levels = np.asarray(piece)
    return int(np.ptp(levels, axis=(0, 1)).max()) <= 2


def _varied(small: Tensor, large: Tensor, rng: Random) -> tuple[Tensor, Tensor]:
    """Both mirrored, turned and with their colour channels exchanged in the same way."""
    mirrored = [axis for axis in (2, 3) if rng.random() < 0.5]
    turned = rng.random() < 0.5
    channels = torch.randperm(3)

    def vary(images: Tensor) -> Tensor:
        images = images.flip(mirrored)[:, channels]
        return images.transpose(2, 3) if turned else images

    return vary(small), vary(large)
