"""Tiny random models in the real formats: right in shape and in every code path, meaningless in content."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WIDTH = 32


def tokenizer() -> CLIPTokenizer:
    """Knows the letters of lower-case English and nothing else."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,.-"
    words = [*letters, *(f"{letter}</w>" for letter in letters), BOS, EOS]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


def text_encoder(vocabulary: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=vocabulary.bos_token_id,
        eos_token_id=vocabulary.eos_token_id,
        pad_token_id=vocabulary.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    ).eval()


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


def stable_diffusion(seed: int = 0) -> StableDiffusionPipeline:
    """A Stable Diffusion 1.x pipeline of a few thousand weights."""
    torch.manual_seed(seed)
    vocabulary = tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=text_encoder(vocabulary),
        tokenizer=vocabulary,
        unet=unet(),
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
            set_alpha_to_one=False,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_stable_diffusion(folder: Path, seed: int = 0) -> Path:
    stable_diffusion(seed).save_pretrained(folder, safe_serialization=True)
    return folder
