"""The autoencoder's decoder, polished on whole drawings; the encoder, and so every latent, stays as it is.

It can run at any time after the autoencoder's own training: the UNet never notices.
"""

import logging
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from deploy.demo.drawing import draw, draw_anything, random_scene
from deploy.demo.training.pace import Average, cosine, set_learning_rate, steps_for
from deploy.demo.training.vae import edge_error, to_input, to_pixels

logger = logging.getLogger(__name__)

LEARNING_RATE = 1e-3
LATENT_NOISE = 0.05
"""A UNet's latents are never quite those of a drawing: the decoder learns to live with this deviation."""

BATCHES = {64: 24, 128: 8}
SMALL_SHARE = 0.3
CROPPED_FROM = (192, 256, 384)


def train_decoder(vae: AutoencoderKL, folder: Path, *, minutes: float, seed: int) -> None:
    torch.manual_seed(seed)
    rng = Random(seed)
    lessons = {side: _lessons(vae, rng, side=side) for side in BATCHES}
    parameters = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=LEARNING_RATE, weight_decay=1e-4, betas=(0.9, 0.99), fused=True
    )
    average = Average(parameters, decay=0.99)
    for step, progress in steps_for(minutes):
        set_learning_rate(optimizer, LEARNING_RATE * cosine(step, progress, warmup=50))
        side = min(BATCHES) if rng.random() < SMALL_SHARE else max(BATCHES)
        pixels, latents = lessons[side]
        rows = torch.randint(len(pixels), (BATCHES[side],))
        loss = _loss(vae, to_input(pixels[rows]), latents[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        average.update()
        if step % 100 == 0:
            logger.info("decoder", extra={"step": step, "side": side, "loss": round(loss.item(), 4)})
    average.swap()
    vae.save_pretrained(folder)


@torch.no_grad()
def _lessons(vae: AutoencoderKL, rng: Random, *, side: int) -> tuple[Tensor, Tensor]:
    """Drawings of this side and pieces of larger ones (for their straighter edges), with their latents."""
    pictures = [draw(random_scene(rng), rng, side=side) for _ in range(2400)]
    pictures += [draw_anything(rng, side=side) for _ in range(400)]
    for _ in range(800 if side == max(BATCHES) else 0):
        whole = draw(random_scene(rng), rng, side=rng.choice(CROPPED_FROM))
        x, y = rng.randint(0, whole.width - side), rng.randint(0, whole.width - side)
        pictures.append(whole.crop((x, y, x + side, y + side)))
    pixels = to_pixels(pictures)
    latents = [vae.encode(to_input(part)).latent_dist.mean for part in pixels.split(32)]
    return pixels, torch.cat(latents)


def _loss(vae: AutoencoderKL, images: Tensor, latents: Tensor) -> Tensor:
    latents = latents + LATENT_NOISE * torch.randn_like(latents)
    with torch.autocast("cpu", torch.bfloat16):
        decoded: Tensor = vae.decode(latents.contiguous(memory_format=torch.channels_last)).sample.float()
    error = (decoded - images).abs().mean() + 2 * (decoded - images).square().mean()
    return error + 0.7 * edge_error(decoded, images)
