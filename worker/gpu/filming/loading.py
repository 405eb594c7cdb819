"""Reads video models from folders in diffusers' layout and puts them on the device."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AnimateDiffPipeline,
    DiffusionPipeline,
    MotionAdapter,
    StableDiffusionPipeline,
    UNetMotionModel,
    WanPipeline,
    WanTransformer3DModel,
)
from safetensors.torch import load_file
from torch import nn

from shared.errors import GenerationFailed
from worker.gpu.filming.animatediff import AnimateDiff
from worker.gpu.filming.model import VideoModel
from worker.gpu.filming.wan import Wan
from worker.gpu.models.loading import FAMILIES, QUIETLY, timed
from worker.gpu.models.precision import Precision, bytes_of

PICTURES, ANIMATED, WAN = "StableDiffusionPipeline", "AnimateDiffPipeline", "WanPipeline"
NETWORKS = ("unet", "motion_adapter", "transformer", "transformer_2", "text_encoder", "vae")
NOISE_SCHEDULE = Path("scheduler", "scheduler_config.json")


def load_video_model(
    video_id: str, folder: Path, precision: Precision, motion_adapter: Path | None = None
) -> VideoModel:
    """A checkpoint of Stable Diffusion 1.x needs a motion adapter, the folders of video models are whole.

    Raises `GenerationFailed` if the folder holds no video model that is known here.
    """

    def load() -> VideoModel:
        kind = str(json.loads((folder / "model_index.json").read_text())["_class_name"])
        if kind == WAN:
            return _wan(video_id, folder, precision)
        if kind == ANIMATED:
            whole = AnimateDiffPipeline.from_pretrained(folder, **QUIETLY)
            return _animatediff(video_id, whole, whole.scheduler.config, precision)
        if kind != PICTURES:
            raise ValueError(f"{kind} is no family of video models that is known here")
        if motion_adapter is None:
            raise GenerationFailed(
                f"Model {video_id} makes pictures only: send the id of a model that makes videos."
            )
        return _animated(video_id, folder, motion_adapter, precision)

    return timed(f"Video model {video_id}", load)


def measured_bytes(model: VideoModel) -> int:
    return bytes_of(*model.networks)


def expected_bytes(folder: Path, precision: Precision, motion_adapter: Path | None = None) -> int:
    """What a video model will take, before it is loaded: files are in fp16 or fp32, memory in `dtype`."""
    files = [file for part in NETWORKS for file in (folder / part).glob("*.safetensors")]
    files += motion_adapter.glob("*.safetensors") if motion_adapter else []
    widest = 2 if precision.dtype is torch.float32 else 1
    return widest * sum(file.stat().st_size for file in files if ".fp16." not in file.name)


def _animated(video_id: str, folder: Path, motion_adapter: Path, precision: Precision) -> AnimateDiff:
    family, options = FAMILIES[PICTURES]
    still: StableDiffusionPipeline = family.from_pretrained(folder, **QUIETLY, **options)
    adapter = MotionAdapter.from_pretrained(motion_adapter, **QUIETLY)
    moving = AnimateDiffPipeline(
        vae=still.vae,
        text_encoder=still.text_encoder,
        tokenizer=still.tokenizer,
        unet=UNetMotionModel.from_unet2d(still.unet, adapter),
        motion_adapter=None,
        scheduler=still.scheduler,
    )
    return _animatediff(
        video_id, moving, {**still.scheduler.config, **_noise_schedule(motion_adapter)}, precision
    )


def _noise_schedule(motion_adapter: Path) -> Mapping[str, Any]:
    """Adapters may be trained with other noise than the checkpoint, and say so in a scheduler's config."""
    file = motion_adapter / NOISE_SCHEDULE
    said: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return said


def _animatediff(
    video_id: str, whole: AnimateDiffPipeline, scheduler_config: Mapping[str, Any], precision: Precision
) -> AnimateDiff:
    layout = {"memory_format": precision.memory_format}
    whole.unet.to(precision.device, precision.dtype, **layout)
    whole.text_encoder.to(precision.device, precision.dtype)
    whole.vae.to(precision.device, precision.vae_dtype(force_upcast=False), **layout)
    parts = _parts(whole) | {"motion_adapter": None}  # its weights are in the UNet
    return AnimateDiff(video_id, parts, scheduler_config)


def _wan(video_id: str, folder: Path, precision: Precision) -> Wan:
    """In bfloat16 where fp16 is set, for which these models are too wide; the autoencoder in float32."""
    dtype = torch.bfloat16 if precision.dtype is torch.float16 else precision.dtype
    index = json.loads((folder / "model_index.json").read_text())
    denoisers = {
        name: _transformer(folder / name) if index.get(name, [None])[0] else None
        for name in ("transformer", "transformer_2")
    }
    whole = WanPipeline.from_pretrained(folder, **denoisers, **QUIETLY)
    for network in (whole.text_encoder, *filter(None, denoisers.values())):
        _place(network, precision.device, dtype)
    whole.vae.to(precision.device, torch.float32)
    options = {name: whole.config[name] for name in ("boundary_ratio", "expand_timesteps")}
    return Wan(video_id, _parts(whole), options, whole.scheduler)


def _transformer(folder: Path) -> WanTransformer3DModel:
    """Read by hand: diffusers would only do it with the shortcut for memory that is forbidden here."""
    transformer = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(folder))
    missing = set(transformer.state_dict())
    for shard in sorted(folder.glob("*.safetensors")):
        weights = load_file(shard)
        transformer.load_state_dict(weights, strict=False)
        missing -= weights.keys()
    if missing:
        raise ValueError(f"{folder} lacks {len(missing)} of the transformer's weights")
    return transformer.eval()


def _place(network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Onto the device, in this format, but for what the network's class says must stay in float32."""
    kept = frozenset(getattr(network, "_keep_in_fp32_modules", None) or ())
    for name, parameter in network.named_parameters():
        parameter.data = parameter.data.to(device, dtype if kept.isdisjoint(name.split(".")) else None)
    network.to(device)  # what is no parameter


def _parts(whole: DiffusionPipeline) -> dict[str, Any]:
    return {name: part for name, part in whole.components.items() if name != "scheduler"}
