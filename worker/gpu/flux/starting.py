"""Turns the picture that image-to-image begins with into latents, as the transformer works with them."""

import torch
from torch import Tensor

from worker.gpu.engine import Pixels, Steps
from worker.gpu.flux.kit import FluxKit
from worker.gpu.painting.autoencoder import scaled, whole_or_in_tiles
from worker.gpu.painting.picture_encoding import EncodePicture


def encoded(kit: FluxKit, pixels: Pixels, generator: torch.Generator, alone: object) -> Steps[Tensor]:
    """(1, channels, height, width), in the range that the transformer works in."""
    (drawn_from,) = yield from whole_or_in_tiles([EncodePicture(kit, pixels, alone_for=alone)])
    drawn: Tensor = drawn_from.sample(generator)
    return scaled(kit.vae, drawn).to(kit.model.dtype)
