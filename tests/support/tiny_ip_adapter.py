"""Tiny random IP-Adapters with their image encoders, in a folder that is laid out like the real ones."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from shared.ip_adapters import IP_ADAPTERS
from tests.support import tiny

SIDE = 32
"""Pixels along a side of what the encoders see."""
HIDDEN, SUMMARY = 48, 24
"""Widths of an encoder's layers, and of its summary of a picture."""
TOKENS, QUERIES = 4, 6
"""That the UNet hears of a picture: of the plain adapters, as diffusers has it, and of the "plus" ones."""
INNER = 64
"""One head of the resampler; the format has no other width."""
LAYERS = 4
STRENGTH = 3.0
"""Far above what real weights are: what is heard of a picture must be seen."""


def save_ip_adapters(folder: Path) -> Path:
    """All five, for tiny.stable_diffusion() and tiny.stable_diffusion_xl()."""
    unets = {False: tiny.stable_diffusion().unet, True: tiny.stable_diffusion_xl().unet}
    for seed, (adapter_id, files) in enumerate(IP_ADAPTERS.items()):
        if not (folder / files.image_encoder).exists():
            save_image_encoder(folder / files.image_encoder, seed)
        weights = ip_adapter(unets[files.is_xl], is_plus="plus" in adapter_id, seed=seed)
        (folder / files.weights).parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / files.weights, metadata={"format": "pt"})
    return folder


def save_image_encoder(folder: Path, seed: int = 0) -> None:
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        image_size=SIDE,
        patch_size=8,
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=SUMMARY,
        initializer_factor=10.0,  # so strong that it tells pictures apart
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder, safe_serialization=True)


def ip_adapter(unet: UNet2DConditionModel, *, is_plus: bool, seed: int = 0) -> dict[str, Tensor]:
    """The tensors of a file, by their names in it."""
    random = torch.Generator().manual_seed(seed)

    def weight(*shape: int) -> Tensor:
        drawn: Tensor = torch.randn(*shape, generator=random)
        return drawn * (STRENGTH / float(shape[-1] ** 0.5))

    width = int(unet.config.cross_attention_dim)
    shapes = _resampler(width) if is_plus else _projection(width)
    tensors = {f"image_proj.{name}": weight(*shape) for name, shape in shapes.items()}
    for place, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            inner = unet.get_submodule(name.removesuffix(".processor")).inner_dim
            tensors[f"ip_adapter.{place}.to_k_ip.weight"] = weight(inner, width)
            tensors[f"ip_adapter.{place}.to_v_ip.weight"] = weight(inner, width)
    return tensors


def _projection(width: int) -> dict[str, tuple[int, ...]]:
    return {
        "proj.weight": (TOKENS * width, SUMMARY),
        "proj.bias": (TOKENS * width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }


def _resampler(width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, QUERIES, INNER),
        "proj_in.weight": (INNER, HIDDEN),
        "proj_in.bias": (INNER,),
        "proj_out.weight": (width, INNER),
        "proj_out.bias": (width,),
        "norm_out.weight": (width,),
        "norm_out.bias": (width,),
    }
    for layer in (f"layers.{index}" for index in range(LAYERS)):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            shapes[f"{layer}.{norm}.weight"] = shapes[f"{layer}.{norm}.bias"] = (INNER,)
        shapes[f"{layer}.0.to_q.weight"] = shapes[f"{layer}.0.to_out.weight"] = (INNER, INNER)
        shapes[f"{layer}.0.to_kv.weight"] = (2 * INNER, INNER)
        shapes[f"{layer}.1.1.weight"] = (4 * INNER, INNER)
        shapes[f"{layer}.1.3.weight"] = (INNER, 4 * INNER)
    return shapes
