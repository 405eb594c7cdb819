"""Turns finished latents into pixels, those of many pictures in one forward of the autoencoder."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from shared.errors import GenerationFailed
from worker.gpu.engine import Ask, Pixels
from worker.gpu.painting.kit import Kit

OUT_OF_RANGE = (
    "The model's numbers ran out of range: send a lower guidance_scale, weaker prompt weights or LoRAs."
)


@dataclass(frozen=True, eq=False)
class Decode(Ask[Pixels]):
    urgent: ClassVar[bool] = True

    kit: Kit
    latents: Tensor
    alone_for: object = None

    @property
    def alone(self) -> bool:  # type: ignore[override]
        return self.alone_for is not None

    @property
    def lane(self) -> Hashable:
        return (*self._shape, self.alone_for)

    @property
    def size(self) -> Hashable:
        return self._shape

    @property
    def _shape(self) -> tuple[Hashable, ...]:
        return ("decode", self.kit.model.model_id, self.kit.vae_id, tuple(self.latents.shape[1:]))

    def answer(self, asks: Sequence["Decode"]) -> list[Pixels | Exception]:
        vae = self.kit.vae
        stacked = torch.cat([ask.latents for ask in asks]).to(vae.dtype) / vae.config.scaling_factor
        try:
            decoded = vae.decode(stacked, return_dict=False)[0]
        except torch.OutOfMemoryError:
            if len(asks) > 1:
                raise
            decoded = self._decoded_in_tiles(stacked)
        is_sound = torch.isfinite(decoded).flatten(1).all(1).tolist()
        pixels = (decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float()
        # the stock pipeline rounds the same way: to the nearest of 256 levels
        pictures = (pixels * 255).round().to(torch.uint8).cpu().numpy()
        return [
            picture if sound else GenerationFailed(OUT_OF_RANGE)
            for picture, sound in zip(pictures, is_sound, strict=True)
        ]

    def _decoded_in_tiles(self, latents: Tensor) -> Tensor:
        """For a picture that does not fit the device whole; its tiles' borders differ a little."""
        self.kit.vae.enable_tiling()
        try:
            decoded: Tensor = self.kit.vae.decode(latents, return_dict=False)[0]
        finally:
            self.kit.vae.disable_tiling()
        return decoded
