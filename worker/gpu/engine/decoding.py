"""Turns finished latents into pixels, many pictures in one forward of the VAE."""

from collections.abc import Sequence

import torch

from worker.gpu.engine.rendering import Pixels
from worker.gpu.models import LoadedModel


@torch.inference_mode()
def decode_latents(model: LoadedModel, latents: Sequence[torch.Tensor]) -> list[Pixels]:
    """Each of `latents` is (1, channels, height, width), all of one shape."""
    stacked = torch.cat(list(latents)) / model.vae.config.scaling_factor
    decoded = model.vae.decode(stacked, return_dict=False)[0]
    pixels = (decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float()
    # the stock pipeline rounds the same way: to the nearest of 256 levels
    return list((pixels * 255).round().to(torch.uint8).cpu().numpy())
