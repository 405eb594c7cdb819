"""Turns finished latents into pixels, those of many pictures in one forward of the autoencoder."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from shared.errors import GenerationFailed
from worker.gpu.engine import Ask, Pixels
from worker.gpu.painting.autoencoder import MOST_POSITIONS, tiling, unscaled
from worker.gpu.painting.kit import VaeKit

OUT_OF_RANGE = (
    "The model's numbers ran out of range: send a lower guidance_scale, weaker prompt weights or LoRAs."
)


@dataclass(frozen=True, eq=False)
class Decode(Ask[Pixels]):
    work: ClassVar[str] = "decode"
    urgent: ClassVar[bool] = True

    kit: VaeKit
    latents: Tensor
    alone_for: object = None
    in_tiles: bool = False
    """For a picture that does not fit the device whole; its tiles' borders differ a little."""

    @property
    def most_together(self) -> int:  # type: ignore[override]
        height, width = self.latents.shape[2:]
        return max(1, MOST_POSITIONS // (height * width))

    @property
    def shape(self) -> Hashable:
        return (
            "decode",
            self.kit.model.model_id,
            self.kit.vae_id,
            tuple(self.latents.shape[1:]),
            self.in_tiles,
        )

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.kit.vae,)

    def answer(self, asks: Sequence["Decode"]) -> list[Pixels | Exception]:
        decoded = self._decoded(torch.cat([ask.latents for ask in asks]))
        is_sound = torch.isfinite(decoded).flatten(1).all(1).tolist()
        pixels = (decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float()
        # the stock pipeline rounds the same way: to the nearest of 256 levels
        pictures = (pixels * 255).round().to(torch.uint8).cpu().numpy()
        return [
            picture if sound else GenerationFailed(OUT_OF_RANGE)
            for picture, sound in zip(pictures, is_sound, strict=True)
        ]

    def _decoded(self, latents: Tensor) -> Tensor:
        vae = self.kit.vae
        with tiling(vae, on=self.in_tiles):
            decoded: Tensor = vae.decode(unscaled(vae, latents.to(vae.dtype)), return_dict=False)[0]
        return decoded
