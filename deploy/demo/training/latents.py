"""The UNet's lessons: drawn scenes, encoded once, at every size that the model shall draw."""

from dataclasses import dataclass
from random import Random

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from deploy.demo.drawing import Scene, draw, random_scene
from deploy.demo.training.vae import to_input, to_pixels


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Scenes of one size and their latents, row by row."""

    latents: Tensor
    scenes: list[Scene]


@torch.no_grad()
def encode_scenes(vae: AutoencoderKL, *, side: int, count: int, seed: int) -> Lessons:
    rng = Random(f"{seed}/{side}")
    scenes: list[Scene] = []
    parts: list[Tensor] = []
    batch = max(1, 64 * 64 * 64 // side**2)
    while len(scenes) < count:
        drawn = [random_scene(rng) for _ in range(min(batch, count - len(scenes)))]
        images = to_input(to_pixels([draw(scene, rng, side=side) for scene in drawn]))
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        parts.append(latents.float() * vae.config.scaling_factor)
        scenes += drawn
    return Lessons(latents=torch.cat(parts), scenes=scenes)
