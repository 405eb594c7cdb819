"""The config of an autoencoder that came without one: how it is built shows in its weights' shapes."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from worker.gpu.installing.contents import Contents, Shape
from worker.gpu.installing.files import VAE_PREFIXES

_GROUPS = 32
"""Of the norms in all autoencoders that are known."""
_SCALES = {"sd": {"scaling_factor": 0.18215}, "sdxl": {"scaling_factor": 0.13025}}
_FLUX_CHANNELS = 16
_FLUX_SCALE = {"scaling_factor": 0.3611, "shift_factor": 0.1159}


def config_of(contents: Contents, names: str) -> dict[str, Any]:
    """`names`: all that the model is called. Only they tell SDXL's autoencoders, which are built like the
    earlier ones."""
    shapes = {_bare(name): shape for name, shape in contents.shapes.items()}
    is_diffusers = any(name.startswith("encoder.mid_block.") for name in shapes)
    down = "encoder.down_blocks.{}.resnets.{}" if is_diffusers else "encoder.down.{}.block.{}"
    blocks = _count(shapes, lambda i: down.format(i, 0))
    channels = shapes["decoder.conv_in.weight"][1]
    scale = _SCALES["sdxl" if "xl" in names.lower() else "sd"]
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [shapes[f"{down.format(i, 0)}.conv1.weight"][0] for i in range(blocks)],
        "down_block_types": ["DownEncoderBlock2D"] * blocks,
        "up_block_types": ["UpDecoderBlock2D"] * blocks,
        "layers_per_block": _count(shapes, lambda i: down.format(0, i)),
        "latent_channels": channels,
        "sample_size": 512,
        "norm_num_groups": _GROUPS,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        **(_FLUX_SCALE if channels == _FLUX_CHANNELS else scale),
    }


def _count(shapes: Mapping[str, Shape], name: Callable[[int], str]) -> int:
    """How many blocks there are of these names."""
    return next(i for i in count() if f"{name(i)}.conv1.weight" not in shapes)


def _bare(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in VAE_PREFIXES if name.startswith(prefix)), name)
