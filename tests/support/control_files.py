"""ControlNets in files, under the names that the original ones have."""

import re
from pathlib import Path

from diffusers import ControlNetModel
from safetensors.torch import save_file

from tests.support.model_files import unet_name

_OWN = {
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
    "controlnet_mid_block": "middle_block_out.0",
}


def save_original(network: ControlNetModel, file: Path, prefix: str = "control_model.") -> Path:
    layers = int(network.config.layers_per_block) + 1
    weights = {prefix + _original(key, layers): value for key, value in network.state_dict().items()}
    save_file(weights, file)
    return file


def _original(key: str, layers: int) -> str:
    """The rest is the encoding half of a UNet."""
    part, kind = key.rsplit(".", 1)
    if part in _OWN:
        return f"{_OWN[part]}.{kind}"
    if found := re.match(r"controlnet_down_blocks\.(\d+)\.(.*)", key):
        return f"zero_convs.{found[1]}.0.{found[2]}"
    if found := re.match(r"controlnet_cond_embedding\.blocks\.(\d+)\.(.*)", key):
        return f"input_hint_block.{2 * int(found[1]) + 2}.{found[2]}"
    return unet_name(key, layers, attending_ups=set())
