"""Tiny random models in the real formats: right in shape and in every code path, meaningless in content."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WIDTH = 32


def tokenizer() -> CLIPTokenizer:
    """Knows the letters of lower-case English and nothing else."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,.-"
    words = [*letters, *(f"{letter}</w>" for letter in letters), BOS, EOS]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


def text_encoder(vocabulary: CLIPTokenizer, *, projected: bool = False, width: int = WIDTH) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=WIDTH,
        bos_token_id=vocabulary.bos_token_id,
        eos_token_id=vocabulary.eos_token_id,
        pad_token_id=vocabulary.pad_token_id,
    )
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return kind(config).eval()


INPAINTING = 9
"""Channels in, of denoisers that see the hole: latents, mask, and the latents of what surrounds it."""


def unet(sample_size: int = 8, *, in_channels: int = 4, **options: Any) -> UNet2DConditionModel:
    usual: dict[str, Any] = {
        "out_channels": 4,
        "layers_per_block": 1,
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(sample_size=sample_size, in_channels=in_channels, **(usual | options)).eval()


def vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
    ).eval()


def noise_schedule(prediction_type: str) -> PNDMScheduler:
    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
        set_alpha_to_one=False,
        prediction_type=prediction_type,
    )


def stable_diffusion(
    seed: int = 0,
    *,
    prediction_type: str = "epsilon",
    sample_size: int = 8,
    words_width: int = WIDTH,
    in_channels: int = 4,
) -> StableDiffusionPipeline:
    """A Stable Diffusion 1.x pipeline of a few thousand weights; 2.x differ in their `prediction_type`."""
    torch.manual_seed(seed)
    vocabulary = tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=text_encoder(vocabulary, width=words_width),
        tokenizer=vocabulary,
        unet=unet(sample_size, in_channels=in_channels),
        scheduler=noise_schedule(prediction_type),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def latent_consistency(seed: int = 0) -> StableDiffusionPipeline:
    """A model that takes the guidance scale as an input, as distilled ones do."""
    pipeline = stable_diffusion(seed)
    pipeline.register_modules(unet=unet(time_cond_proj_dim=16))
    return pipeline


def stable_diffusion_xl(seed: int = 0, *, in_channels: int = 4) -> StableDiffusionXLPipeline:
    """An SDXL pipeline of a few thousand weights: two text encoders, pooled prompts, size ids."""
    torch.manual_seed(seed)
    vocabulary = tokenizer()
    denoiser = UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=2 * WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    ).eval()
    pipeline = StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=text_encoder(vocabulary),
        text_encoder_2=text_encoder(vocabulary, projected=True),
        tokenizer=vocabulary,
        tokenizer_2=vocabulary,
        unet=denoiser,
        scheduler=noise_schedule("epsilon"),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def controlnet(unet: UNet2DConditionModel, seed: int = 0, **options: Any) -> ControlNetModel:
    """For `unet`; one that was not trained would add nothing but zeros."""
    torch.manual_seed(seed)
    shape = ControlNetModel.from_unet(unet, load_weights_from_unet=False).config
    return outspoken(ControlNetModel.from_config(shape, **options))


def outspoken(network: ControlNetModel) -> ControlNetModel:
    """With a random number for every zero, and with layers that don't lose sight of the hint."""
    for weights in network.parameters():
        if not weights.any():
            torch.nn.init.normal_(weights, std=0.2)
    reader = network.controlnet_cond_embedding
    for layer in (reader.conv_in, *reader.blocks):
        torch.nn.init.kaiming_normal_(layer.weight)
    return network.eval()


FAMILIES: dict[str, Callable[[], StableDiffusionPipeline | StableDiffusionXLPipeline]] = {
    "sd1": stable_diffusion,
    "sd2": lambda: stable_diffusion(prediction_type="v_prediction"),
    "sdxl": stable_diffusion_xl,
}


def save_stable_diffusion(folder: Path, seed: int = 0) -> Path:
    stable_diffusion(seed).save_pretrained(folder, safe_serialization=True)
    return folder


def save_tensors(file: Path) -> Path:
    """A safetensors file that is nothing in particular."""
    save_file({"a": torch.zeros(2, 2), "b": torch.ones(3)}, file, metadata={"format": "pt"})
    return file
