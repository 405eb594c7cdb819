"""Where denoising begins if not at noise: at a picture, or around what a mask keeps of one.

All draws are the picture's own and in the order of diffusers' image-to-image and inpainting pipelines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray
from torch import Tensor

from worker.gpu.engine import Pixels, Steps
from worker.gpu.finishing.seam import PAINTED_FROM
from worker.gpu.painting.autoencoder import scaled, whole_or_in_tiles
from worker.gpu.painting.kit import Kit
from worker.gpu.painting.picture_encoding import EncodePicture
from worker.gpu.painting.request import Start
from worker.gpu.schedulers import Scheduler

EVERYWHERE = 255


@dataclass(frozen=True)
class Kept:
    """The part of a picture that models which do not see the hole are held to, step by step."""

    hole: Tensor
    """(1, 1, height, width): 1 for what is painted"""
    latents: Tensor
    noise: Tensor

    def restore(self, latents: Tensor, scheduler: Scheduler, timesteps: Tensor) -> Tensor:
        """`latents` with what is kept put back, as noisy as at the first of `timesteps`, those to come."""
        kept = self.latents
        if len(timesteps):
            kept = scheduler.add_noise(kept, self.noise, timesteps[:1])
        return (1 - self.hole) * kept + self.hole * latents


@dataclass(frozen=True)
class Beginning:
    latents: Tensor
    kept: Kept | None = None
    surroundings: Tensor | None = None
    """(1, channels, height, width): the hole and what lies around it, for models that see them."""


@dataclass(frozen=True)
class Beginnings:
    """Makes the beginnings of one picture's passes."""

    kit: Kit
    generator: torch.Generator
    alone: object

    def noise(self, height: int, width: int) -> Tensor:
        """Drawn on the CPU, so that a seed means the same picture on every device."""
        model = self.kit.model
        shape = (1, model.latent_channels, height // model.scale, width // model.scale)
        return self._drawn(shape, model.dtype).to(model.device)

    def at_picture(self, start: Start, scheduler: Scheduler, timesteps: Tensor) -> Steps[Beginning]:
        """Where `timesteps`, those that are to be run, begin; if there are none, the picture itself."""
        if self.kit.model.sees_hole and len(timesteps):
            return (yield from self._seeing_hole(start, scheduler, timesteps))
        (drawn_from,) = yield from whole_or_in_tiles([self._ask(start.pixels)])
        picture = self._latents(drawn_from)
        if not len(timesteps):
            return Beginning(picture)
        noise = self.noise(*start.pixels.shape[:2])
        noised = scheduler.add_noise(picture, noise, timesteps[:1])
        if start.mask is None:
            return Beginning(noised)
        # the stock pipelines draw what surrounds the hole for such models too, and don't use it
        self._drawn(picture.shape, self.kit.vae.dtype)
        latents = noise * scheduler.init_noise_sigma if start.strength == 1 else noised
        return Beginning(latents, kept=Kept(self._hole(start.mask), picture, noise))

    def _seeing_hole(self, start: Start, scheduler: Scheduler, timesteps: Tensor) -> Steps[Beginning]:
        mask = _all_of(start.pixels) if start.mask is None else start.mask
        asks = [self._ask(start.pixels), self._ask(start.pixels, mask)]
        if start.strength == 1:
            del asks[0]
        *of_picture, of_surroundings = yield from whole_or_in_tiles(asks)
        pictures = [self._latents(drawn_from) for drawn_from in of_picture]
        latents = self.noise(*mask.shape)
        if pictures:
            latents = scheduler.add_noise(pictures[0], latents, timesteps[:1])
        else:
            latents = latents * scheduler.init_noise_sigma
        surroundings = torch.cat([self._hole(mask), self._latents(of_surroundings)], dim=1)
        return Beginning(latents, surroundings=surroundings)

    def nothing_around(self, height: int, width: int) -> Steps[Tensor | None]:
        """What a model that sees the hole is given where all is to be painted; None for other models."""
        if not self.kit.model.sees_hole:
            return None
        grey = np.zeros((height, width, 3), np.uint8)
        mask = _all_of(grey)
        (drawn_from,) = yield from whole_or_in_tiles([self._ask(grey, mask)])
        return torch.cat([self._hole(mask), self._latents(drawn_from)], dim=1)

    def _ask(self, pixels: Pixels, mask: NDArray[np.uint8] | None = None) -> EncodePicture:
        return EncodePicture(self.kit, pixels, mask, self.alone)

    def _latents(self, drawn_from: DiagonalGaussianDistribution) -> Tensor:
        drawn: Tensor = drawn_from.sample(self.generator)
        return scaled(self.kit.vae, drawn.to(self.kit.model.dtype))

    def _drawn(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=dtype)

    def _hole(self, mask: NDArray[np.uint8]) -> Tensor:
        """(1, 1, height, width) at the latents' size: every position's first pixel decides."""
        model = self.kit.model
        coarse = torch.tensor(mask[:: model.scale, :: model.scale] >= PAINTED_FROM)
        return coarse.to(model.device, model.dtype)[None, None]


def _all_of(pixels: Pixels) -> NDArray[np.uint8]:
    return np.full(pixels.shape[:2], EVERYWHERE, np.uint8)


def begin_at(scheduler: Scheduler, steps: int, running: int) -> Tensor:
    """The timesteps of the last `running` of `steps` steps; the scheduler is told that it begins there."""
    skipped = (steps - running) * scheduler.order
    scheduler.set_begin_index(skipped)
    return scheduler.timesteps[skipped:]
