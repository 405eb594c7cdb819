"""Latents as the transformer sees them: a row of patches instead of an image."""

import torch
from torch import Tensor
from torch.nn import functional

PATCH = 2
"""Latent positions along a side of a patch."""


def packed(latents: Tensor) -> Tensor:
    """(rows, channels, height, width) as (rows, patches, channels of a patch)."""
    return functional.pixel_unshuffle(latents, PATCH).flatten(2).transpose(1, 2).contiguous()


def unpacked(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """The latents again; `grid` is how many patches they are high and wide."""
    return functional.pixel_shuffle(patches.transpose(1, 2).unflatten(2, grid), PATCH)


def places(grid: tuple[int, int], device: torch.device) -> Tensor:
    """(patches, 3): zero, row and column of each."""
    sides = [torch.arange(side, device=device) for side in grid]
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()
