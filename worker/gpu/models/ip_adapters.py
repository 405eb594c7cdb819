"""IP-Adapters (arXiv 2308.06721): networks that turn a picture into tokens which the UNet hears like a
prompt's. How it hears them: image_prompts.py; how they are read: ip_files.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.embeddings import ImageProjection
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from shared.ip_adapters import IP_ADAPTERS
from worker.gpu.engine.rendering import Pixels
from worker.gpu.fitting import seen_by
from worker.gpu.models.precision import bytes_of


@dataclass(frozen=True, eq=False)
class IpWeights:
    """What an adapter itself consists of. `layers`: the weights of a key's and a value's projection for each
    cross-attention of the UNet, in its order."""

    adapter_id: str
    projection: nn.Module
    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def is_xl(self) -> bool:
        return IP_ADAPTERS[self.adapter_id].is_xl

    @property
    def hears_patches(self) -> bool:
        """The "plus" ones do; the plain ones hear only the picture's summary."""
        return not isinstance(self.projection, ImageProjection)

    @property
    def bytes(self) -> int:
        layers = sum(weight.numel() * weight.element_size() for pair in self.layers for weight in pair)
        return bytes_of(self.projection) + layers


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """CLIP's vision model, with what prepares pictures for it; adapters share it."""

    network: CLIPVisionModelWithProjection
    processor: CLIPImageProcessorPil

    @property
    def bytes(self) -> int:
        return bytes_of(self.network)

    def cropped(self, picture: Pixels) -> Pixels:
        """What the encoder sees of a picture: its middle, (side, side, 3). It sees the same in that again."""
        return seen_by(self.processor, picture)

    def prepared(self, pictures: Sequence[Pixels]) -> Tensor:
        """(pictures, 3, side, side)"""
        images = [Image.fromarray(picture) for picture in pictures]
        values: Tensor = self.processor(images, return_tensors="pt").pixel_values
        return values.to(self.network.device, self.network.dtype)


@dataclass(frozen=True, eq=False)
class IpAdapter:
    """An adapter ready to be used."""

    weights: IpWeights
    encoder: ImageEncoder

    @property
    def adapter_id(self) -> str:
        return self.weights.adapter_id

    @property
    def key(self) -> str:
        """Tells it from all others, those that had its id before too."""
        return f"{self.adapter_id} {id(self.weights)}"

    def tokens(self, pictures: Sequence[Pixels]) -> Tensor:
        """(1 + pictures, tokens, width). The first stands for no picture: it is what the negative prompt's
        rows hear. Pictures may be of any size, and those that `cropped` made take the least time."""
        prepared = self.encoder.prepared(pictures)
        if self.weights.hears_patches:
            with_black = torch.cat([torch.zeros_like(prepared[:1]), prepared])
            seen = self.encoder.network(with_black, output_hidden_states=True).hidden_states[-2]
        else:
            summaries = self.encoder.network(prepared).image_embeds
            seen = torch.cat([torch.zeros_like(summaries[:1]), summaries])
        tokens: Tensor = self.weights.projection(seen)
        return tokens
