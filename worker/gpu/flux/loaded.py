"""A Flux model on the device: what its pictures are made with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from worker.gpu.flux.adapters import FluxAdapters
from worker.gpu.flux.patches import PATCH
from worker.gpu.models.precision import NAMES, bytes_of

MOST_TOKENS = 512
"""What the models were trained with; a longer prompt is cut, as in the stock pipeline."""


@dataclass(frozen=True)
class LoadedFlux:
    """Weights are shared by all jobs; LoRAs are switched on for each forward."""

    model_id: str
    pipeline: FluxPipeline
    clip_tokenizer: CLIPTokenizer
    clip: CLIPTextModel
    t5_tokenizer: T5TokenizerFast
    t5: T5EncoderModel
    transformer: FluxTransformer2DModel
    vae: AutoencoderKL
    scheduler_config: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    adapters: FluxAdapters

    @property
    def revision(self) -> str:
        return NAMES[self.dtype]

    @property
    def bytes(self) -> int:
        """What the weights take; LoRAs come on top."""
        return bytes_of(self.transformer, self.vae, self.clip, self.t5)

    @property
    def latent_channels(self) -> int:
        return int(self.transformer.config.in_channels) // PATCH**2

    @property
    def scale(self) -> int:
        """Pixels per latent position along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def pixels_per_patch(self) -> int:
        """Along one side: pictures are painted in multiples of it."""
        return self.scale * PATCH

    @property
    def native_side(self) -> int:
        """Side in pixels of the pictures that the model was trained on."""
        return int(self.pipeline.default_sample_size) * self.scale

    @property
    def takes_guidance_as_input(self) -> bool:
        """Distilled with guidance (dev): the scale is told to the transformer."""
        return bool(self.transformer.config.guidance_embeds)

    @property
    def prompt_tokens(self) -> int:
        """How many tokens every prompt is padded to or cut to."""
        return min(MOST_TOKENS, int(self.t5_tokenizer.model_max_length))


def from_pipeline(model_id: str, pipeline: FluxPipeline) -> LoadedFlux:
    """The parts of a loaded diffusers pipeline, sharing its weights."""
    return LoadedFlux(
        model_id=model_id,
        pipeline=pipeline,
        clip_tokenizer=pipeline.tokenizer,
        clip=pipeline.text_encoder,
        t5_tokenizer=pipeline.tokenizer_2,
        t5=pipeline.text_encoder_2,
        transformer=pipeline.transformer,
        vae=pipeline.vae,
        scheduler_config=pipeline.scheduler.config,
        device=pipeline.transformer.device,
        dtype=pipeline.transformer.dtype,
        adapters=FluxAdapters(pipeline),
    )
