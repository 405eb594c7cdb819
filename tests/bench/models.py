"""Pipelines to measure: the demo model, or random weights of the real sizes for real devices."""

from dataclasses import dataclass

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from shared.settings import DEMO
from tests.support import tiny
from worker.gpu.models.precision import Precision


@dataclass(frozen=True)
class Subject:
    """What is measured, and at which size."""

    name: str
    pipeline: diffusers.DiffusionPipeline
    side: int


def subject(name: str, device: str, side: int | None) -> Subject:
    make, usual = {"demo": (_demo, 128), "sd15": (_sd15, 512), "sdxl": (_sdxl, 1024)}[name]
    precision = Precision.choose(device, "auto")
    pipeline = make().to(precision.device, precision.dtype)
    pipeline.unet.to(memory_format=precision.memory_format)
    pipeline.vae.to(memory_format=precision.memory_format)
    pipeline.set_progress_bar_config(disable=True)
    return Subject(name, pipeline, side or usual)


def _demo() -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(DEMO / "model", dtype=torch.float32, safety_checker=None)


def _sd15() -> StableDiffusionPipeline:
    """Stable Diffusion 1.5 in every size but its vocabulary."""
    words = tiny.tokenizer()
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text(len(words), width=768, layers=12, heads=12)),
        tokenizer=words,
        unet=sd15_unet(),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> StableDiffusionXLPipeline:
    """SDXL in every size but its vocabulary."""
    words = tiny.tokenizer()
    second = _text(len(words), width=1280, layers=32, heads=20, projection=1280)
    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text(len(words), width=768, layers=12, heads=12)),
        text_encoder_2=CLIPTextModelWithProjection(second),
        tokenizer=words,
        tokenizer_2=words,
        unet=sdxl_unet(),
        scheduler=_scheduler(),
        add_watermarker=False,
    )


def sd15_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


def sdxl_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
    )


def _text(words: int, *, width: int, layers: int, heads: int, projection: int = 768) -> CLIPTextConfig:
    marks = tiny.tokenizer()
    return CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=projection,
        bos_token_id=marks.bos_token_id,
        eos_token_id=marks.eos_token_id,
        pad_token_id=marks.pad_token_id,
    )


def _scheduler() -> DPMSolverMultistepScheduler:
    return DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    )
