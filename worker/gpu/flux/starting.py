"""Turns the pictures that image-to-image begins with into latents, those of many in one forward."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from worker.gpu.engine import Ask, Pixels, Steps, one
from worker.gpu.flux.kit import FluxKit

MOST_POSITIONS = 4 * 64 * 64
"""Of one encoding, as of one decoding: company gains little and takes much memory."""


@dataclass(frozen=True, eq=False)
class EncodePicture(Ask[DiagonalGaussianDistribution]):
    """Answered by what the picture's latents are to be drawn from, before scaling."""

    urgent: ClassVar[bool] = True

    kit: FluxKit
    pixels: Pixels
    alone_for: object = None

    @property
    def most_together(self) -> int:  # type: ignore[override]
        height, width = (side // self.kit.model.scale for side in self.pixels.shape[:2])
        return max(1, MOST_POSITIONS // int(height * width))

    @property
    def shape(self) -> Hashable:
        return ("encode picture", self.kit.model.model_id, self.pixels.shape)

    def answer(self, asks: Sequence["EncodePicture"]) -> list[DiagonalGaussianDistribution]:
        vae = self.kit.vae
        pictures = torch.stack([torch.tensor(ask.pixels) for ask in asks]).to(vae.device)
        ranged = pictures.permute(0, 3, 1, 2).float() / 255 * 2 - 1
        drawn_from = vae.encode(ranged.to(vae.dtype)).latent_dist
        return [DiagonalGaussianDistribution(each) for each in drawn_from.parameters.split(1)]


def encoded(kit: FluxKit, pixels: Pixels, generator: torch.Generator, alone: object) -> Steps[Tensor]:
    """(1, channels, height, width), in the range that the transformer works in."""
    drawn_from = yield from one(EncodePicture(kit, pixels, alone))
    drawn, config = drawn_from.sample(generator), kit.vae.config
    latents: Tensor = (drawn - float(config.shift_factor or 0)) * float(config.scaling_factor)
    return latents.to(kit.model.dtype)
