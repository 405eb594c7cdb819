"""A cluster that has everything which the documented requests ask for."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from deploy.ports import free_port
from shared.settings import DEMO, Settings
from tests.support import tiny
from tests.support.lora_files import diffusers_lora
from tests.support.models import write_models_file
from tests.support.processes import running_dispatcher, running_gateway, running_redis, running_worker
from tests.support.tiny_finishing import save_safety_checker
from tests.support.tiny_flux import save_flux
from tests.support.tiny_video import motion_adapter

KEY = "demo"
BLOCKS = (16, 16, 32)


@dataclass(frozen=True)
class WholeCluster:
    """Every process of one but the launcher and Flower, which would start them anew and show them."""

    url: str


@contextlib.contextmanager
def running_whole_cluster(folder: Path, **changes: Any) -> Iterator[WholeCluster]:
    """The demo's models, with a safety checker and a Flux model besides; `changes` are settings."""
    file = write_models_file(
        folder / "models.yaml",
        models={"demo": DEMO / "model", "flux": save_flux(folder / "flux")},
        safety_checker=save_safety_checker(folder / "checker"),
    )
    with _running(folder, file, **changes) as cluster:
        yield cluster


@contextlib.contextmanager
def running_demo_cluster(folder: Path) -> Iterator[WholeCluster]:
    """The demo's models, and nothing else."""
    with _running(folder, DEMO / "models.yaml") as cluster:
        yield cluster


@contextlib.contextmanager
def running_tiny_cluster(folder: Path) -> Iterator[WholeCluster]:
    """The same under the same ids, of models that make nothing but noise, and that quickly."""
    file = write_models_file(folder / "models.yaml", **tiny_models(folder))
    with _running(folder, file) as cluster:
        yield cluster


def tiny_models(folder: Path) -> dict[str, Any]:
    """Saves those, as tables of models."""
    pipeline = tiny.stable_diffusion()
    # with attention only where a picture has fewest positions: it would take most of the time
    pipeline.unet = tiny.unet(
        block_out_channels=BLOCKS,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    pipeline.save_pretrained(folder / "model", safe_serialization=True)
    tiny.controlnet(pipeline.unet).save_pretrained(folder / "controlnet")
    motion_adapter(block_out_channels=BLOCKS).save_pretrained(folder / "motion")
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


@contextlib.contextmanager
def _running(folder: Path, models_file: Path, **changes: Any) -> Iterator[WholeCluster]:
    server = folder / "server"
    server.mkdir()
    with running_redis(server) as redis_url:
        settings = Settings(
            redis_url=redis_url,
            data_dir=folder / "data",
            port=free_port(),
            api_key=KEY,
            secret_key="a secret of the tests",
            webhook_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            allow_private_hosts=("127.0.0.1",),
            models_file=models_file,
            **changes,
        )
        with (
            running_gateway(settings, server / "gateway.log") as url,
            running_dispatcher(settings, server / "dispatcher.log"),
            running_worker(settings, server / "worker.log"),
        ):
            yield WholeCluster(url)
