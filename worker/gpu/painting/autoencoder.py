"""What encoding pictures and decoding latents have in common: the scale of latents, and tiles."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from worker.gpu.engine import Ask, Steps

MOST_POSITIONS = 4 * 64 * 64
"""Latent positions of one forward: four pictures of 512 px. An autoencoder gains little from company, and
takes much memory."""


def scaled(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """From the autoencoder's own range to the denoiser's."""
    shift, spread, factor = _scale(vae, latents)
    return (latents - shift) * factor / spread


def unscaled(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """The other way round."""
    shift, spread, factor = _scale(vae, latents)
    return latents * spread / factor + shift


def _scale(vae: AutoencoderKL, latents: Tensor) -> tuple[Tensor, Tensor, float]:
    """As the config says: most have one factor, some a shift, some a mean and a spread for each channel."""
    mean, spread = (getattr(vae.config, name, None) for name in ("latents_mean", "latents_std"))
    if mean is None or spread is None:
        mean, spread = [getattr(vae.config, "shift_factor", None) or 0.0], [1.0]
    shape = (1, len(mean), 1, 1)
    return (
        latents.new_tensor(mean).view(shape),
        latents.new_tensor(spread).view(shape),
        float(vae.config.scaling_factor),
    )


@contextmanager
def tiling(vae: AutoencoderKL, *, on: bool) -> Iterator[None]:
    """Many jobs share the autoencoder: it is left as it was."""
    if not on:
        yield
        return
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()


def whole_or_in_tiles(asks: Sequence[Ask[Any]]) -> Steps[list[Any]]:
    """The answers to `asks`, which have an `in_tiles`: it is set if they do not fit even after all room was
    made."""
    try:
        return (yield list(asks))
    except torch.OutOfMemoryError:
        return (yield [replace(ask, in_tiles=True) for ask in asks])  # type: ignore[type-var]
