"""Which parts a diffusers pipeline of each family has."""

from typing import TypeAlias

from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

Pipeline: TypeAlias = StableDiffusionPipeline | StableDiffusionXLPipeline
Network: TypeAlias = CLIPTextModel | CLIPTextModelWithProjection


def text_parts(pipeline: Pipeline) -> list[tuple[CLIPTokenizer, Network]]:
    """Each tokenizer with its text encoder: one pair, or SDXL's two."""
    pairs = [(pipeline.tokenizer, pipeline.text_encoder)]
    if isinstance(pipeline, StableDiffusionXLPipeline):
        pairs.append((pipeline.tokenizer_2, pipeline.text_encoder_2))
    return pairs
