"""Finds out what kind of upscaler a file or folder holds, and reads it."""

import json
from pathlib import Path

import torch

from shared.errors import GenerationFailed
from worker.gpu.enlarging.diffusion import FAMILIES
from worker.gpu.enlarging.networks import Spandrel, Swin2SR
from worker.gpu.enlarging.spandrel_files import unreadable
from worker.gpu.enlarging.upscaler import Upscaler

WEIGHTS, PIPELINE, NETWORK = ".safetensors", "model_index.json", "config.json"
PICKLES = (".pth", ".pt", ".ckpt", ".bin")


def load_upscaler(name: str, source: str, device: torch.device, dtype: torch.dtype) -> Upscaler:
    """`source` is a folder in diffusers' or transformers' layout, or a file of the ESRGAN family.

    Raises `GenerationFailed` if it is none of these, and what the libraries raise if it can't be read.
    """
    path = Path(source)
    if path.suffix in PICKLES:
        raise GenerationFailed(
            f"Upscaler {name} is a {path.suffix} file, which can run code when it is read: "
            "convert it to .safetensors and name that file."
        )
    if path.suffix == WEIGHTS:
        return Spandrel.load(name, path, device, dtype)
    if (path / PIPELINE).is_file():
        family = _read_name(name, path / PIPELINE, "_class_name")
        if family not in FAMILIES:
            raise GenerationFailed(f"Upscaler {name} is a {family}, which enlarges no pictures.")
        return FAMILIES[family].load(name, path, device, dtype)
    kind = _read_name(name, path / NETWORK, "model_type")
    if kind != "swin2sr":
        raise GenerationFailed(f"Upscaler {name} is a {kind} model; folders must hold a swin2sr one.")
    return Swin2SR.load(name, path, device, dtype)


def _read_name(name: str, file: Path, key: str) -> str:
    try:
        return str(json.loads(file.read_text()).get(key))
    except (OSError, ValueError, AttributeError) as exc:
        raise unreadable(f"Upscaler {name}") from exc
