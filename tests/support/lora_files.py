"""Random LoRA files in the formats that people have."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

RANK = 2
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")


def _pairs(network: nn.Module, names: tuple[str, ...], seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer → its two factors, strong enough to be seen."""
    random = torch.Generator().manual_seed(seed)
    return {
        name: (
            torch.randn(RANK, layer.in_features, generator=random) * 0.5,
            torch.randn(layer.out_features, RANK, generator=random) * 0.5,
        )
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) and name.endswith(names)
    }


def diffusers_lora(file: Path, unet: nn.Module, text_encoder: nn.Module | None = None, seed: int = 0) -> Path:
    """diffusers' own, which is PEFT's: `unet.….lora_A.weight`."""
    tensors = {}
    for prefix, network, names in (("unet", unet, ATTENTION), ("text_encoder", text_encoder, TEXT_ATTENTION)):
        for layer, (down, up) in (_pairs(network, names, seed) if network else {}).items():
            tensors[f"{prefix}.{layer}.lora_A.weight"] = down
            tensors[f"{prefix}.{layer}.lora_B.weight"] = up
    save_file(tensors, file, metadata={"format": "pt"})
    return file


def old_diffusers_lora(file: Path, unet: nn.Module, seed: int = 0) -> Path:
    """As diffusers wrote them before PEFT: `unet.….processor.to_q_lora.down.weight`."""
    tensors = {}
    for layer, (down, up) in _pairs(unet, ATTENTION, seed).items():
        attention, _, projection = layer.rpartition(".to_")
        name = f"unet.{attention}.processor.to_{projection.removesuffix('.0')}_lora"
        tensors[f"{name}.down.weight"], tensors[f"{name}.up.weight"] = down, up
    save_file(tensors, file, metadata={"format": "pt"})
    return file


def kohya_lora(file: Path, unet: nn.Module, text_encoder: nn.Module | None = None, seed: int = 0) -> Path:
    """kohya's: `lora_unet_….lora_down.weight` with an alpha of half the rank."""
    tensors = {}
    parts = (("lora_unet_", unet, ATTENTION), ("lora_te_text_model_", text_encoder, TEXT_ATTENTION))
    for prefix, network, names in parts:
        for layer, (down, up) in (_pairs(network, names, seed) if network else {}).items():
            name = prefix + layer.replace(".", "_")
            tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"] = down, up
            tensors[f"{name}.alpha"] = torch.tensor(RANK / 2)
    save_file(tensors, file, metadata={"format": "pt"})
    return file


def transformer_lora(file: Path, transformer: nn.Module, text_encoder: nn.Module, seed: int = 0) -> Path:
    """diffusers' own for Flux: `transformer.….lora_A.weight`."""
    parts = (("transformer", transformer, ATTENTION), ("text_encoder", text_encoder, TEXT_ATTENTION))
    tensors = {}
    for prefix, network, names in parts:
        for layer, (down, up) in _pairs(network, names, seed).items():
            tensors[f"{prefix}.{layer}.lora_A.weight"] = down
            tensors[f"{prefix}.{layer}.lora_B.weight"] = up
    save_file(tensors, file, metadata={"format": "pt"})
    return file
