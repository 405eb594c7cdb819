"""Tiny random Flux models in the real format: right in every code path, meaningless in content."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from tests.support.tiny import WIDTH, text_encoder, tokenizer

LATENT_CHANNELS = 4
TOKENS = 24


def t5_tokenizer() -> T5Tokenizer:
    """Knows the letters of lower-case English and nothing else."""
    letters = [(piece, -float(i)) for i, piece in enumerate("▁abcdefghijklmnopqrstuvwxyz0123456789,.-")]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=TOKENS)


def t5(vocabulary: T5Tokenizer) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(vocabulary),
            d_model=WIDTH,
            d_kv=8,
            d_ff=2 * WIDTH,
            num_layers=1,
            num_heads=4,
            initializer_factor=1.0,
        )
    ).eval()


def transformer(*, guidance_embeds: bool) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 4, 8),
    ).eval()


def vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.36,
        shift_factor=0.12,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


def flux(seed: int = 0, *, guidance_embeds: bool = True) -> FluxPipeline:
    """A Flux pipeline of a few thousand weights: dev hears the guidance and shifts its schedule by the
    picture's size, schnell does neither."""
    torch.manual_seed(seed)
    vocabulary, pieces = tokenizer(), t5_tokenizer()
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0 if guidance_embeds else 1.0, use_dynamic_shifting=guidance_embeds
        ),
        vae=vae(),
        text_encoder=text_encoder(vocabulary),
        tokenizer=vocabulary,
        text_encoder_2=t5(pieces),
        tokenizer_2=pieces,
        transformer=transformer(guidance_embeds=guidance_embeds),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_flux(folder: Path, seed: int = 0, *, guidance_embeds: bool = True) -> Path:
    flux(seed, guidance_embeds=guidance_embeds).save_pretrained(folder, safe_serialization=True)
    return folder
