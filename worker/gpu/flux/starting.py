"""Turns the pictures that image-to-image begins with into latents, those of many in one forward."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from worker.gpu.engine import Ask, Steps, one
from worker.gpu.flux.loaded import LoadedFlux

MOST_POSITIONS = 4 * 64 * 64
"""Of one encoding, as of one decoding: company gains little and takes much memory."""


@dataclass(frozen=True, eq=False)
class EncodePicture(Ask[Tensor]):
    """Answered with the moments of the latents, from which they are drawn."""

    urgent: ClassVar[bool] = True

    model: LoadedFlux
    picture: Tensor
    """(1, 3, height, width), -1 to 1"""
    alone_for: object = None

    @property
    def most_together(self) -> int:  # type: ignore[override]
        height, width = (side // self.model.scale for side in self.picture.shape[2:])
        return max(1, MOST_POSITIONS // (height * width))

    @property
    def shape(self) -> Hashable:
        return ("encode picture", self.model.model_id, tuple(self.picture.shape[1:]))

    def answer(self, asks: Sequence["EncodePicture"]) -> list[Tensor]:
        pictures = torch.cat([ask.picture for ask in asks]).to(self.model.vae.dtype)
        moments: Tensor = self.model.vae.encode(pictures).latent_dist.parameters
        return list(moments.split(1))


def encoded(model: LoadedFlux, picture: Tensor, generator: torch.Generator, alone: object) -> Steps[Tensor]:
    """(1, channels, height, width), in the units that the transformer works in."""
    moments = yield from one(EncodePicture(model, picture, alone))
    drawn = DiagonalGaussianDistribution(moments).sample(generator)
    config = model.vae.config
    latents: Tensor = (drawn - float(config.shift_factor or 0)) * float(config.scaling_factor)
    return latents.to(model.dtype)
