"""ControlNets (arXiv 2302.05543): loads them from folders in diffusers' layout and from single files.

What runs at every step and what runs once for a picture are kept apart here; neither is run here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from torch import Tensor

from shared.errors import GenerationFailed
from worker.gpu.models.control_files import read_control_file
from worker.gpu.models.loaded import LoadedModel
from worker.gpu.models.loading import QUIETLY, timed
from worker.gpu.models.precision import Precision, bytes_of

KNOWN_KIND = "ControlNetModel"


@dataclass(frozen=True)
class LoadedControlNet:
    """Weights are shared by all jobs."""

    control_id: str
    network: ControlNetModel
    """Without the layers that read the hint: as `controlnet_cond` it takes what `read` returns."""
    reader: torch.nn.Module

    @property
    def pools(self) -> bool:
        """It says the same to every position of a picture (the shuffle ControlNet)."""
        return bool(self.network.config.global_pool_conditions)

    @property
    def scale(self) -> int:
        """Pixels per position of the features along one side."""
        return int(2 ** (len(self.network.config.conditioning_embedding_out_channels) - 1))

    @property
    def bytes(self) -> int:
        return bytes_of(self.network, self.reader)

    def read(self, hints: Tensor) -> Tensor:
        """The features of hints (rows, 3, height, width); they are the same at every step."""
        features: Tensor = self.reader(hints.to(self.network.device, self.network.dtype))
        return features


def load_controlnet(control_id: str, path: Path, precision: Precision) -> LoadedControlNet:
    """From a folder, or from a safetensors file with diffusers' names or the original ones.

    Raises `GenerationFailed` if there is no ControlNet for Stable Diffusion or SDXL in it.
    """

    def load() -> LoadedControlNet:
        network = read_control_file(path) if path.is_file() else _from_folder(path)
        _require_known(network)
        network.eval().to(precision.device, precision.dtype, memory_format=precision.memory_format)
        return _split(control_id, network)

    return timed(f"ControlNet {control_id}", load)


def require_fit(controlnet: LoadedControlNet, model: LoadedModel) -> None:
    """Raises `GenerationFailed` if the ControlNet is made for models of another kind."""
    net, unet = controlnet.network.config, model.unet.config
    fits = (
        net.in_channels == model.latent_channels
        and controlnet.scale == model.scale
        and _outline(net) == _outline(unet)
        and (net.addition_embed_type is None or _added(net) == _added(unet))
    )
    if not fits:
        raise GenerationFailed(
            f"ControlNet {controlnet.control_id} does not fit model {model.model_id}: "
            "send a ControlNet that is made for models of its kind."
        )


def _from_folder(folder: Path) -> ControlNetModel:
    kind = json.loads((folder / "config.json").read_text())["_class_name"]
    if kind != KNOWN_KIND:
        raise ValueError(f"{kind} is no kind of ControlNet that is known here")
    network, info = ControlNetModel.from_pretrained(folder, output_loading_info=True, **QUIETLY)
    if info["missing_keys"]:  # these would be random
        raise ValueError(f"weights are missing: {sorted(info['missing_keys'])[:3]}")
    return network


def _require_known(network: ControlNetModel) -> None:
    config = network.config
    if config.conditioning_channels != 3 or config.addition_embed_type not in (None, "text_time"):
        raise ValueError("it wants other inputs than a hint, the prompt and a picture's sizes")


def _split(control_id: str, network: ControlNetModel) -> LoadedControlNet:
    reader = network.controlnet_cond_embedding
    if network.config.controlnet_conditioning_channel_order == "bgr":
        first = reader.conv_in.weight
        first.data = first.data.flip(1)
        network.register_to_config(controlnet_conditioning_channel_order="rgb")
    network.controlnet_cond_embedding = torch.nn.Identity()
    return LoadedControlNet(control_id, network, reader)


def _outline(config: Any) -> tuple[object, ...]:
    """What must be the same in a UNet and in a ControlNet for it."""
    channels = tuple(config.block_out_channels)

    def per_block(value: object) -> tuple[object, ...]:
        return tuple(value) if isinstance(value, list | tuple) else (value,) * len(channels)

    return channels, per_block(config.layers_per_block), per_block(config.cross_attention_dim)


def _added(config: Any) -> tuple[object, ...]:
    """What is heard besides the prompt: SDXL's summary and sizes."""
    return (
        config.addition_embed_type,
        config.addition_time_embed_dim,
        config.projection_class_embeddings_input_dim,
    )
