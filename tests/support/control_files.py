"""ControlNets in files, under the names that the original ones have."""

import re
from pathlib import Path

from diffusers import ControlNetModel
from safetensors.torch import save_file

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_PLAIN = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
    "controlnet_mid_block": "middle_block_out.0",
}


def save_original(network: ControlNetModel, file: Path, prefix: str = "control_model.") -> Path:
    layers = network.config.layers_per_block
    weights = {prefix + _original(key, layers): value for key, value in network.state_dict().items()}
    save_file(weights, file)
    return file


def _original(key: str, layers: int) -> str:
    part, kind = key.rsplit(".", 1)
    if part in _PLAIN:
        return f"{_PLAIN[part]}.{kind}"
    if found := re.match(r"controlnet_down_blocks\.(\d+)\.(.*)", key):
        return f"zero_convs.{found[1]}.0.{found[2]}"
    if found := re.match(r"controlnet_cond_embedding\.blocks\.(\d+)\.(.*)", key):
        return f"input_hint_block.{2 * int(found[1]) + 2}.{found[2]}"
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", key):
        index = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block.{index}.{_layer(found[3])}"
    found = re.match(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)\.(.*)", key)
    assert found is not None, key
    block, kind, layer, rest = int(found[1]), found[2], int(found[3]), found[4]
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * (layers + 1)}.0.{rest.replace('conv', 'op')}"
    index = 1 + block * (layers + 1) + layer
    return f"input_blocks.{index}.{1 if kind == 'attentions' else 0}.{_layer(rest)}"


def _layer(rest: str) -> str:
    first, _, others = rest.partition(".")
    return f"{_RESNET.get(first, first)}.{others}"
