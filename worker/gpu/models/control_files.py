"""Reads a ControlNet from a single safetensors file, whose shapes tell how it is built.

Its weights have diffusers' names, or the original ones with or without `control_model.` before them. Not for
control-LoRAs, T2I adapters and ControlNets of other architectures: they lack weights, and are refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import ControlNetModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors.torch import load_file
from torch import Tensor

HEADS, HEAD_WIDTH = 8, 64
"""Stable Diffusion 1.x has eight heads, however wide; later models have heads 64 wide, however many."""
SIZE_WIDTH = 256
"""In how many numbers SDXL's ControlNets are told each of a picture's six sizes."""
SDXL_WORDS = 2048
"""Width of SDXL's embeddings; its small ControlNets have no attention to see it from."""
POOLING = "shuffle"
"""Says the same to all positions; nothing but the file's name tells."""

Weights = Mapping[str, Tensor]


def read_control_file(file: Path) -> ControlNetModel:
    """In float32, on the CPU. Raises what the libraries do, or a `LookupError`, if it is no ControlNet."""
    weights = _renamed(load_file(file))
    network = ControlNetModel(**config_of(weights), global_pool_conditions=POOLING in file.stem.lower())
    network.load_state_dict(weights, strict=True)
    return network


def config_of(weights: Weights) -> dict[str, Any]:
    """The arguments of the `ControlNetModel` that has `weights`, by diffusers' names."""
    blocks = range(_count(weights, "down_blocks."))
    channels = [_rows(weights, f"down_blocks.{block}.resnets.0.conv1.weight") for block in blocks]
    attends = [f"down_blocks.{block}.attentions.0.norm.weight" in weights for block in blocks]
    depths = [_count(weights, f"down_blocks.{block}.attentions.0.transformer_blocks.") for block in blocks]
    middle_attends = "mid_block.attentions.0.norm.weight" in weights
    if not attends[-1]:  # where the last block has no depth of its own, the middle block's is in its place
        depths[-1] = _count(weights, "mid_block.attentions.0.transformer_blocks.")
    is_linear = any(key.endswith("proj_in.weight") and weights[key].ndim == 2 for key in weights)
    is_later = is_linear or not any(attends)
    return {
        "in_channels": _columns(weights, "conv_in.weight"),
        "conditioning_channels": _columns(weights, "controlnet_cond_embedding.conv_in.weight"),
        "conditioning_embedding_out_channels": _hint_channels(weights),
        "block_out_channels": channels,
        "layers_per_block": _count(weights, "down_blocks.0.resnets."),
        "down_block_types": ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in attends],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle_attends else "UNetMidBlock2D",
        "transformer_layers_per_block": depths,
        "attention_head_dim": [each // HEAD_WIDTH for each in channels] if is_later else HEADS,
        "use_linear_projection": is_linear,
        "cross_attention_dim": _words_width(weights),
        **_sizes(weights),
    }


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """By diffusers' names."""
    if "controlnet_cond_embedding.conv_in.weight" in weights:
        return weights
    first_halving = min(
        int(found[1]) for key in weights if (found := re.search(r"input_blocks\.(\d+)\.0\.op\.weight$", key))
    )
    renamed = convert_controlnet_checkpoint(weights, {"layers_per_block": first_halving - 1})
    return {
        key: tensor for key, tensor in renamed.items() if tensor is not None
    }  # it puts None for what lacks


def _sizes(weights: Weights) -> dict[str, Any]:
    """SDXL's ControlNets hear a summary of the prompt and the picture's sizes."""
    first = "add_embedding.linear_1.weight"
    if first not in weights:
        return {}
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": SIZE_WIDTH,
        "projection_class_embeddings_input_dim": _columns(weights, first),
    }


def _hint_channels(weights: Weights) -> list[int]:
    prefix = "controlnet_cond_embedding."
    halvings = range(1, _count(weights, f"{prefix}blocks."), 2)
    names = ["conv_in", *(f"blocks.{index}" for index in halvings)]
    return [_rows(weights, f"{prefix}{name}.weight") for name in names]


def _words_width(weights: Weights) -> int:
    widths = (_columns(weights, key) for key in weights if key.endswith("attn2.to_k.weight"))
    return next(widths, SDXL_WORDS)


def _count(weights: Weights, prefix: str) -> int:
    """How many parts there are in the list that `prefix` names."""
    return len({key[len(prefix) :].split(".")[0] for key in weights if key.startswith(prefix)})


def _rows(weights: Weights, key: str) -> int:
    return int(weights[key].shape[0])


def _columns(weights: Weights, key: str) -> int:
    return int(weights[key].shape[1])
