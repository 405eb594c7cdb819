"""A checkpoint on the device: what the painting needs to make pictures with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTokenizer

from worker.gpu.models.adapters import Adapters
from worker.gpu.models.attention import Marks, install
from worker.gpu.models.embeddings import Vocabulary
from worker.gpu.models.image_prompts import ImagePrompts
from worker.gpu.models.merging import TokenMerging
from worker.gpu.models.parts import Network, Pipeline, text_parts
from worker.gpu.models.precision import NAMES, bytes_of


@dataclass(frozen=True)
class TextEncoder:
    """One CLIP text encoder with its tokenizer, and the words that textual inversions added to it."""

    tokenizer: CLIPTokenizer
    network: Network
    vocabulary: Vocabulary


@dataclass(frozen=True)
class LoadedModel:
    """Weights are shared by all jobs; what is per job (LoRAs, pictures, merging) is on for its forwards."""

    model_id: str
    pipeline: Pipeline
    encoders: tuple[TextEncoder, ...]
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler_config: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    adapters: Adapters
    image_prompts: ImagePrompts
    marks: Marks
    merging: TokenMerging
    compiled: bool = False

    @property
    def revision(self) -> str:
        return NAMES[self.dtype]

    @property
    def bytes(self) -> int:
        """What the weights take; LoRAs come on top."""
        return bytes_of(self.unet, self.vae, *(each.network for each in self.encoders))

    @property
    def is_xl(self) -> bool:
        return len(self.encoders) > 1

    @property
    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def sees_hole(self) -> bool:
        """Made for inpainting: beside the latents, its denoiser is given the hole and what surrounds it."""
        return int(self.unet.config.in_channels) == 2 * self.latent_channels + 1

    @property
    def scale(self) -> int:
        """Pixels per latent position along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def native_side(self) -> int:
        """Side in pixels of the pictures that the model was trained on."""
        return int(self.unet.config.sample_size) * self.scale

    @property
    def takes_guidance_as_input(self) -> bool:
        """A distilled model (LCM): guidance is told to it, instead of a row with the negative prompt."""
        return self.unet.config.time_cond_proj_dim is not None


def from_pipeline(
    model_id: str,
    pipeline: Pipeline,
    *,
    merged_share: float = 0.5,
    compiled: bool = False,
) -> LoadedModel:
    """The parts of a loaded diffusers pipeline, sharing its weights."""
    return LoadedModel(
        model_id=model_id,
        pipeline=pipeline,
        encoders=tuple(
            TextEncoder(words, network, Vocabulary(network)) for words, network in text_parts(pipeline)
        ),
        unet=pipeline.unet,
        vae=pipeline.vae,
        scheduler_config=pipeline.scheduler.config,
        device=pipeline.unet.device,
        dtype=pipeline.unet.dtype,
        adapters=Adapters(pipeline),
        image_prompts=ImagePrompts(pipeline.unet, is_xl=len(text_parts(pipeline)) > 1),
        marks=install(pipeline.unet),
        merging=TokenMerging(pipeline.unet, merged_share),
        compiled=compiled,
    )
