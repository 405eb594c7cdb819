"""Reads Flux models from folders in diffusers' layout and puts them on the device."""

import dataclasses
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, T5EncoderModel

from worker.gpu.flux.loaded import LoadedFlux, from_pipeline
from worker.gpu.models.loading import QUIETLY, UNREADABLE, family_of, place_vae, timed
from worker.gpu.models.precision import Precision

FAMILY = "FluxPipeline"
"""A folder's `_class_name`."""


def is_flux(folder: Path) -> bool:
    """Whether a folder says that it holds a Flux model."""
    try:
        return family_of(folder) == FAMILY
    except UNREADABLE:
        return False


def load_flux(model_id: str, folder: Path, precision: Precision) -> LoadedFlux:
    """Raises `GenerationFailed` if the folder holds no Flux model.

    Each part is on the device before the next one is read: in float32 the largest takes enough by itself.
    """
    precision = _with_range(precision)

    def load() -> LoadedFlux:
        if not is_flux(folder):
            raise ValueError(f"{folder} holds no {FAMILY}")
        vae = AutoencoderKL.from_pretrained(folder / "vae", **QUIETLY)
        parts = {"vae": place_vae(vae, precision, is_fragile=False)}
        for name, kind in (
            ("transformer", FluxTransformer2DModel),
            ("text_encoder", CLIPTextModel),
            ("text_encoder_2", T5EncoderModel),
        ):
            part = kind.from_pretrained(folder / name, **QUIETLY)
            parts[name] = part.to(precision.device, precision.dtype).eval()
        return from_pipeline(model_id, FluxPipeline.from_pretrained(folder, **QUIETLY, **parts))

    return timed(f"Model {model_id}", load)


def _with_range(precision: Precision) -> Precision:
    """bf16 in place of fp16: these models were trained in it, and T5's numbers leave the range of fp16."""
    if precision.dtype is not torch.float16:
        return precision
    return dataclasses.replace(precision, dtype=torch.bfloat16)
