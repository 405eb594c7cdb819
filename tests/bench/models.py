"""Pipelines to measure: the demo model, or random weights of the real sizes for real devices."""

from dataclasses import dataclass
from functools import cached_property

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from shared.settings import DEMO
from tests.support import tiny
from tests.support.painting import STARTING, sibling
from worker.gpu.models.loaded import LoadedModel, from_pipeline
from worker.gpu.models.precision import Precision


@dataclass(frozen=True)
class Subject:
    """What is measured, and at which size.

    Two copies of the weights: loading a model for the engine changes its UNet's attention, and the stock
    pipeline is to run as diffusers made it.
    """

    name: str
    stock: diffusers.DiffusionPipeline
    model: LoadedModel
    side: int

    @cached_property
    def starting(self) -> tuple[diffusers.DiffusionPipeline, diffusers.DiffusionPipeline]:
        """The stock pipelines for pictures that start from a picture: without and with a mask."""
        is_xl = isinstance(self.stock, StableDiffusionXLPipeline)
        from_picture, around_hole = (sibling(kind, self.stock) for kind in STARTING[is_xl])
        return from_picture, around_hole


def subject(name: str, device: str, side: int | None) -> Subject:
    make, usual = MODELS[name]
    precision = Precision.choose(device, "auto")
    stock, ours = (_placed(make(precision.device), precision) for _ in range(2))
    # the worker keeps an autoencoder in float32 where its config asks for it; SDXL's stock pipeline does so
    # during each call, Stable Diffusion's never
    vae_dtype = precision.vae_dtype(force_upcast=bool(ours.vae.config.force_upcast))
    if vae_dtype != ours.vae.dtype:
        ours.vae.to(vae_dtype)
    return Subject(name, stock, from_pipeline(name, ours), side or usual)


def _placed(
    pipeline: StableDiffusionPipeline | StableDiffusionXLPipeline, precision: Precision
) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """In the number format and memory layout that the worker would choose."""
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().to(precision.device)
            if part.dtype != precision.dtype:
                part.to(precision.dtype)
    pipeline.unet.to(memory_format=precision.memory_format)
    pipeline.vae.to(memory_format=precision.memory_format)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _demo(device: torch.device) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(
        DEMO / "model", dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )


def _sd15(device: torch.device) -> StableDiffusionPipeline:
    """Stable Diffusion 1.5 in every size but its vocabulary."""
    words = tiny.tokenizer()
    torch.manual_seed(0)
    with device:  # drawing a billion weights takes a GPU no time
        networks = {"vae": _vae(), "unet": sd15_unet(), "text_encoder": _small_encoder()}
    return StableDiffusionPipeline(
        **networks,
        tokenizer=words,
        scheduler=tiny.noise_schedule("epsilon"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl(device: torch.device) -> StableDiffusionXLPipeline:
    """SDXL in every size but its vocabulary."""
    words = tiny.tokenizer()
    torch.manual_seed(0)
    with device:
        large = _text(len(words), width=1280, layers=32, heads=20, projection=1280)
        networks = {
            "vae": _vae(),
            "unet": sdxl_unet(),
            "text_encoder": _small_encoder(),
            "text_encoder_2": CLIPTextModelWithProjection(large),
        }
    return StableDiffusionXLPipeline(
        **networks,
        tokenizer=words,
        tokenizer_2=words,
        scheduler=tiny.noise_schedule("epsilon"),
        add_watermarker=False,
    )


def _small_encoder() -> CLIPTextModel:
    """The one of Stable Diffusion 1.x, which SDXL has beside a larger one."""
    return CLIPTextModel(_text(len(tiny.tokenizer()), width=768, layers=12, heads=12))


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


MODELS = {"demo": (_demo, 128), "sd15": (_sd15, 512), "sdxl": (_sdxl, 1024)}
"""How each is made, and its usual side in pixels."""
