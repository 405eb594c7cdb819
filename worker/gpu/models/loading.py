"""Reads checkpoints and autoencoders from folders in diffusers' layout and puts them on the device."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import SafetensorError

from shared.errors import GenerationFailed
from worker.gpu.exclusive import LOADING
from worker.gpu.models.loaded import LoadedModel, from_pipeline
from worker.gpu.models.parts import Pipeline, text_parts
from worker.gpu.models.precision import Precision

logger = logging.getLogger(__name__)

T = TypeVar("T")
Family: TypeAlias = tuple[type[Pipeline], dict[str, object]]

# A checkpoint's own safety checker would work inside its pipeline; ours sees every model's pictures.
_SD: Family = (StableDiffusionPipeline, {"safety_checker": None, "requires_safety_checker": False})
_SDXL: Family = (StableDiffusionXLPipeline, {"add_watermarker": False})
FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": _SD,
    "StableDiffusionInpaintPipeline": _SD,
    "StableDiffusionXLPipeline": _SDXL,
    "StableDiffusionXLInpaintPipeline": _SDXL,
}
"""A folder's `_class_name`: its class, and what that is loaded with."""
# What must not happen while the engine's thread works on: the shortcut for memory makes every module that
# is built meanwhile an empty one (it may be attaching a LoRA), and loading in another number format makes
# that the whole process's default. So weights are read as float32 and converted afterwards.
QUIETLY: dict[str, object] = {
    "dtype": torch.float32,
    "low_cpu_mem_usage": False,
    "use_safetensors": True,
    "local_files_only": True,
}
PARTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2")
UNREADABLE = (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError)
"""What the libraries raise for a file that is missing, broken, or of another kind."""


@dataclass(frozen=True)
class Tuning:
    """What is done to every checkpoint's UNet once it is loaded."""

    merged_share: float = 0.5
    compile_backend: str | None = None


def load_checkpoint(model_id: str, folder: Path, precision: Precision, tuning: Tuning) -> LoadedModel:
    """Raises `GenerationFailed` if the folder holds no checkpoint that is known here."""

    def load() -> LoadedModel:
        family, options = _family(folder)
        pipeline = family.from_pretrained(folder, **QUIETLY, **options)
        for _, encoder in text_parts(pipeline):
            encoder.to(precision.device, precision.dtype)
        pipeline.unet.to(precision.device, precision.dtype, memory_format=precision.memory_format)
        # the config's default for models that say nothing is True, and only SDXL's means it
        is_fragile = isinstance(pipeline, StableDiffusionXLPipeline) and bool(
            pipeline.vae.config.force_upcast
        )
        place_vae(pipeline.vae, precision, is_fragile=is_fragile)
        loaded = from_pipeline(
            model_id,
            pipeline,
            merged_share=tuning.merged_share,
            compiled=tuning.compile_backend is not None,
        )
        if tuning.compile_backend is not None:
            pipeline.unet.compile_repeated_blocks(backend=tuning.compile_backend)
        return loaded

    return timed(f"Model {model_id}", load)


def load_vae(vae_id: str, folder: Path, precision: Precision) -> AutoencoderKL:
    """Raises `GenerationFailed` if the folder holds no autoencoder."""

    def load() -> AutoencoderKL:
        vae = AutoencoderKL.from_pretrained(folder, **QUIETLY)
        return place_vae(vae, precision, is_fragile=bool(vae.config.force_upcast))

    return timed(f"VAE {vae_id}", load)


def place_vae(vae: AutoencoderKL, precision: Precision, *, is_fragile: bool) -> AutoencoderKL:
    dtype = precision.vae_dtype(force_upcast=is_fragile)
    return vae.to(precision.device, dtype, memory_format=precision.memory_format)


def timed(what: str, load: Callable[[], T]) -> T:
    """`load()`, alone in the process; raises `GenerationFailed` for what can't be read."""
    started = time.monotonic()
    try:
        with LOADING:
            loaded = load()
    except torch.OutOfMemoryError as exc:
        raise GenerationFailed(f"{what} does not fit the memory that is free on the server now.") from exc
    except UNREADABLE as exc:
        logger.exception("not loaded", extra={"what": what})
        raise GenerationFailed(f"{what} can't be loaded on the server.") from exc
    logger.info("loaded", extra={"what": what, "seconds": round(time.monotonic() - started, 2)})
    return loaded


def family_of(folder: Path) -> str:
    """The pipeline that a folder was saved from. Raises one of `UNREADABLE` if it does not say so."""
    return str(json.loads((folder / "model_index.json").read_text())["_class_name"])


def _family(folder: Path) -> Family:
    name = family_of(folder)
    if name not in FAMILIES:
        raise ValueError(f"{name} is no family of models that is known here")
    return FAMILIES[name]


def bytes_on_disk(folder: Path, dtype: torch.dtype) -> int:
    """What a checkpoint will take, before it is loaded: files are in fp16 or fp32, memory in `dtype`."""
    in_parts = [file for part in PARTS for file in (folder / part).glob("*.safetensors")]
    # beside its parts, a folder may hold the same weights once more in one file
    files = [folder] if folder.is_file() else in_parts or [*folder.glob("*.safetensors")]
    widest = 2 if dtype is torch.float32 else 1
    return widest * sum(file.stat().st_size for file in files if ".fp16." not in file.name)
