"""A cluster that has everything which the documented requests ask for."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from shared.settings import DEMO
from tests.support import tiny
from tests.support.lora_files import diffusers_lora
from tests.support.models import write_models_file
from tests.support.processes import LocalCluster, running_cluster
from tests.support.tiny_finishing import save_safety_checker
from tests.support.tiny_flux import save_flux
from tests.support.tiny_video import motion_adapter


@contextlib.contextmanager
def running_whole_cluster(folder: Path, webhook_schedule_s: str = "") -> Iterator[LocalCluster]:
    """As `make run` starts it, with a safety checker and a Flux model besides."""
    file = write_models_file(
        folder / "models.yaml",
        models={"demo": DEMO / "model", "flux": save_flux(folder / "flux")},
        safety_checker=save_safety_checker(folder / "checker"),
    )
    with running_cluster(
        folder / "data",
        PRINTWORKS_MODELS_FILE=str(file),
        PRINTWORKS_WEBHOOK_SCHEDULE_S=webhook_schedule_s,
    ) as cluster:
        yield cluster


@contextlib.contextmanager
def running_tiny_cluster(folder: Path) -> Iterator[LocalCluster]:
    """The same under the same ids, of models that make nothing but noise, and that quickly."""
    file = write_models_file(folder / "models.yaml", **tiny_models(folder))
    with running_cluster(folder / "data", PRINTWORKS_MODELS_FILE=str(file)) as cluster:
        yield cluster


def tiny_models(folder: Path) -> dict[str, Any]:
    """Saves those, as tables of models."""
    pipeline = tiny.stable_diffusion()
    # without attention where a picture has most positions, which would take most of the time
    pipeline.unet = tiny.unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    pipeline.save_pretrained(folder / "model", safe_serialization=True)
    tiny.controlnet(pipeline.unet).save_pretrained(folder / "controlnet")
    motion_adapter().save_pretrained(folder / "motion")
    width = pipeline.text_encoder.config.hidden_size
    save_file({"sunset": torch.zeros(1, width)}, folder / "sunset.safetensors")
    return {
        "models": {"demo": folder / "model", "flux": save_flux(folder / "flux")},
        "loras": {"demo-floor": diffusers_lora(folder / "floor.safetensors", pipeline.unet)},
        "embeddings": {"demo-sunset": folder / "sunset.safetensors"},
        "controlnets": {"demo-canny": folder / "controlnet"},
        "motion_adapter": folder / "motion",
        "safety_checker": save_safety_checker(folder / "checker"),
    }
