"""Turns pixels into latents, those of many pictures in one forward of the autoencoder."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray
from torch import Tensor

from worker.gpu.engine import Ask, Pixels
from worker.gpu.finishing.seam import PAINTED_FROM
from worker.gpu.painting.autoencoder import MOST_POSITIONS, tiling
from worker.gpu.painting.kit import VaeKit


@dataclass(frozen=True, eq=False)
class EncodePicture(Ask[DiagonalGaussianDistribution]):
    """Answered by what the picture's latents are to be drawn from, before scaling."""

    work: ClassVar[str] = "encode_picture"
    urgent: ClassVar[bool] = True

    kit: VaeKit
    pixels: Pixels
    mask: NDArray[np.uint8] | None = None
    """(height, width): what is to be painted is left out, which makes it grey."""
    alone_for: object = None
    in_tiles: bool = False
    """For a picture that does not fit the device whole; its tiles' borders differ a little."""

    @property
    def most_together(self) -> int:  # type: ignore[override]
        height, width, _ = self.pixels.shape
        positions = int(height * width) // self.kit.model.scale**2
        return max(1, MOST_POSITIONS // positions)

    @property
    def shape(self) -> Hashable:
        model_id, vae_id = self.kit.model.model_id, self.kit.vae_id
        return ("encode picture", model_id, vae_id, self.pixels.shape, self.in_tiles)

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.kit.vae,)

    def answer(self, asks: Sequence["EncodePicture"]) -> list[DiagonalGaussianDistribution]:
        vae = self.kit.vae
        pictures = torch.cat([ask.normalised() for ask in asks])
        with tiling(vae, on=self.in_tiles):
            drawn_from = vae.encode(pictures.to(vae.dtype)).latent_dist
        return [DiagonalGaussianDistribution(each) for each in drawn_from.parameters.split(1)]

    def normalised(self) -> Tensor:
        """(1, 3, height, width) on the device, -1 to 1."""
        device = self.kit.vae.device
        picture = torch.tensor(self.pixels).to(device).permute(2, 0, 1)[None].float()
        picture = 2.0 * (picture / 255) - 1.0
        if self.mask is None:
            return picture
        return picture * (torch.tensor(self.mask).to(device) < PAINTED_FROM)
