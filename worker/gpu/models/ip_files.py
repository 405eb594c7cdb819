"""Reads IP-Adapters and their image encoders from an operator's folder and puts them on the device."""

from collections.abc import Mapping
from pathlib import Path

from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from shared.errors import GenerationFailed
from shared.ip_adapters import IP_ADAPTERS, installed, not_installed
from worker.gpu.models.ip_adapters import ImageEncoder, IpWeights
from worker.gpu.models.loading import QUIETLY, timed
from worker.gpu.models.precision import Precision


def load_ip_weights(adapter_id: str, folder: Path, precision: Precision) -> IpWeights:
    """Raises `GenerationFailed` if the adapter is not in the folder, or can't be read."""

    def load() -> IpWeights:
        tensors = load_file(folder / IP_ADAPTERS[adapter_id].weights)
        # diffusers' own reading of the format: it makes a module of the weights, and uses nothing of itself
        projection = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers(
            _section(tensors, "image_proj."), low_cpu_mem_usage=False
        )
        layers = [
            (key.to(precision.device, precision.dtype), value.to(precision.device, precision.dtype))
            for key, value in _pairs(_section(tensors, "ip_adapter."))
        ]
        placed = projection.to(precision.device, precision.dtype).eval().requires_grad_(False)
        return IpWeights(adapter_id, placed, tuple(layers))

    _require_installed(adapter_id, folder)
    return timed(f"IP-Adapter {adapter_id}", load)


def load_image_encoder(adapter_id: str, folder: Path, precision: Precision) -> ImageEncoder:
    """The one that this adapter sees with. Raises `GenerationFailed` if it can't be read."""

    def load() -> ImageEncoder:
        network, report = CLIPVisionModelWithProjection.from_pretrained(
            folder / IP_ADAPTERS[adapter_id].image_encoder, **QUIETLY, output_loading_info=True
        )
        if report["missing_keys"]:
            raise ValueError("weights are missing in it")
        side = int(network.config.image_size)
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )
        return ImageEncoder(network.to(precision.device, precision.dtype).eval(), processor)

    _require_installed(adapter_id, folder)
    return timed(f"The image encoder of IP-Adapter {adapter_id}", load)


def _require_installed(adapter_id: str, folder: Path) -> None:
    if adapter_id not in installed(folder):
        raise GenerationFailed(not_installed(adapter_id))


def _section(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _pairs(tensors: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Files number all attentions in the UNet's order, and have the odd ones: the cross-attentions."""
    numbers = sorted({int(name.split(".")[0]) for name in tensors})
    if not numbers:
        raise ValueError("it has no layers of an IP-Adapter")
    return [(tensors[f"{n}.to_k_ip.weight"], tensors[f"{n}.to_v_ip.weight"]) for n in numbers]
