"""Tiny random video models in the real formats: right in shape and code paths, meaningless in content."""

from pathlib import Path

import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKLWan,
    MotionAdapter,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import UMT5Config, UMT5EncoderModel

from tests.support import tiny

WIDTH = 32
MOST_FRAMES = 24
LOUDER = 30


def motion_adapter(seed: int = 0, *, block_out_channels: tuple[int, ...] = (16, 32)) -> MotionAdapter:
    """Fits tests/support/tiny.py's Stable Diffusion, and really mixes the frames."""
    torch.manual_seed(seed)
    return MotionAdapter(
        block_out_channels=block_out_channels,
        motion_layers_per_block=1,
        motion_num_attention_heads=4,
        motion_norm_num_groups=8,
        motion_max_seq_length=MOST_FRAMES,
    ).eval()


def animatediff(seed: int = 0) -> AnimateDiffPipeline:
    still = tiny.stable_diffusion(seed)
    pipeline = AnimateDiffPipeline(
        vae=still.vae,
        text_encoder=still.text_encoder,
        tokenizer=still.tokenizer,
        unet=still.unet,
        motion_adapter=motion_adapter(seed),
        scheduler=still.scheduler,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def wan(seed: int = 0) -> WanPipeline:
    """A Wan pipeline of a few thousand weights: four frames and eight pixels to a latent, patches of two."""
    torch.manual_seed(seed)
    vocabulary = tiny.tokenizer()
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=WIDTH,
        freq_dim=64,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    for block in transformer.blocks:  # random weights hardly hear the prompt
        block.attn2.to_out[0].weight.data *= LOUDER
    transformer.proj_out.weight.data *= LOUDER
    encoder = UMT5EncoderModel(
        UMT5Config(vocab_size=len(vocabulary), d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    )
    pipeline = WanPipeline(
        tokenizer=vocabulary,
        text_encoder=encoder.eval(),
        vae=vae.eval(),
        transformer=transformer.eval(),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_all(folder: Path, seed: int = 0) -> dict[str, Path]:
    """A Stable Diffusion checkpoint, a motion adapter for it, the two in one folder, and a Wan model."""
    names = {name: folder / name for name in ("checkpoint", "adapter", "animatediff", "wan")}
    tiny.save_stable_diffusion(names["checkpoint"], seed)
    motion_adapter(seed).save_pretrained(names["adapter"])
    animatediff(seed).save_pretrained(names["animatediff"])
    wan(seed).save_pretrained(names["wan"])
    return names
