"""The original names of Flux's weights, and what diffusers calls them.

diffusers' own conversion knows one width of the model only; this one goes by the weights.
"""

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

PREFIX = "model.diffusion_model."
_RENAMED = {
    "time_in": "time_text_embed.timestep_embedder",
    "vector_in": "time_text_embed.text_embedder",
    "guidance_in": "time_text_embed.guidance_embedder",
    "in_layer": "linear_1",
    "out_layer": "linear_2",
    "txt_in": "context_embedder",
    "img_in": "x_embedder",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
_IN_DOUBLE = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_attn.norm.query_norm.scale": "attn.norm_q.weight",
    "img_attn.norm.key_norm.scale": "attn.norm_k.weight",
    "txt_attn.norm.query_norm.scale": "attn.norm_added_q.weight",
    "txt_attn.norm.key_norm.scale": "attn.norm_added_k.weight",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
}
_IN_SINGLE = {
    "modulation.lin": "norm.linear",
    "norm.query_norm.scale": "attn.norm_q.weight",
    "norm.key_norm.scale": "attn.norm_k.weight",
    "linear2": "proj_out",
}
_STACKED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
}
"""Weights that lie in one; all but the last of four are as wide as the model."""
_FIRST_WORDS = (*(name.partition(".")[0] + "." for name in _RENAMED), "double_blocks.", "single_blocks.")
_BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+?)(\.weight|\.bias|)")
_SWAPPED = "final_layer.adaLN_modulation.1."
"""Its halves, scale and shift, are the other way round."""


def prefixes(names: Collection[str]) -> tuple[str, ...]:
    """What the names of the transformer's weights begin with."""
    return (PREFIX,) if any(name.startswith(PREFIX) for name in names) else _FIRST_WORDS


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By diffusers' names; what is not known keeps its own."""
    bare = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    width = len(bare["img_in.weight"])
    named: dict[str, Tensor] = {}
    for name, tensor in bare.items():
        if name.startswith(_SWAPPED):
            tensor = torch.cat(tensor.chunk(2)[::-1])
        named |= _in_block(name, tensor, width) or {_outside(name): tensor}
    return named


def _in_block(name: str, tensor: Tensor, width: int) -> dict[str, Tensor]:
    found = _BLOCK.fullmatch(name)
    if found is None:
        return {}
    kind, number, inner, end = found.groups()
    block = f"{'single_' if kind == 'single' else ''}transformer_blocks.{number}"
    if inner in _STACKED:
        names, rest = _STACKED[inner], len(tensor) - 3 * width
        pieces = tensor.split([width] * 3 + [rest] * (len(names) - 3))
        return {f"{block}.{each}{end}": piece.contiguous() for each, piece in zip(names, pieces, strict=True)}
    names_inside = _IN_SINGLE if kind == "single" else _IN_DOUBLE
    return {f"{block}.{names_inside.get(inner, inner)}{end}": tensor}


def _outside(name: str) -> str:
    for original, ours in _RENAMED.items():
        name = re.sub(rf"(^|\.){re.escape(original)}\.", rf"\g<1>{ours}.", name)
    return name
