"""A ControlNet's shapes tell its config: for the ones that are published, without their weights."""

from typing import Any

import pytest
import torch
from diffusers import ControlNetModel

from worker.gpu.models.control_files import config_of

SD1: dict[str, Any] = {
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD2: dict[str, Any] = {
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}
SDXL: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
LARGE = {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
}
MID = LARGE | {"transformer_layers_per_block": [0, 0, 1]}
SMALL = {
    "down_block_types": ["DownBlock2D"] * 3,
    "transformer_layers_per_block": [0, 0, 0],
    "mid_block_type": "UNetMidBlock2D",
}


@pytest.mark.parametrize(
    "published",
    [
        pytest.param(SD1, id="sd 1.x"),
        pytest.param(SD2, id="sd 2.x"),
        pytest.param(SDXL | LARGE, id="sdxl"),
        pytest.param(SDXL | MID, id="sdxl mid"),
        pytest.param(SDXL | SMALL, id="sdxl small"),
    ],
)
def test_the_shapes_of_published_controlnets_tell_how_they_are_built(published: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = ControlNetModel(**published)

    found = config_of(network.state_dict())

    with torch.device("meta"):
        rebuilt = ControlNetModel(**found)
    assert shapes(rebuilt) == shapes(network)
    assert heads(rebuilt) == heads(network)
    assert rebuilt.config.addition_time_embed_dim == network.config.addition_time_embed_dim


def shapes(network: ControlNetModel) -> dict[str, torch.Size]:
    return {name: weights.shape for name, weights in network.state_dict().items()}


def heads(network: ControlNetModel) -> list[int]:
    return [module.heads for module in network.modules() if hasattr(module, "heads")]
