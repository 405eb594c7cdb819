"""The models that this process holds on its device, loaded once each."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from shared.errors import GenerationFailed

logger = logging.getLogger(__name__)

REVISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint on the device: what the engine needs to make pictures with it."""

    model_id: str
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler_config: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype

    @property
    def revision(self) -> str:
        return REVISIONS[self.dtype]

    @property
    def latent_channels(self) -> int:
        return int(self.unet.config.in_channels)

    @property
    def scale(self) -> int:
        """Pixels per latent position along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


class ModelCache:
    """Loads a model when it is first asked for; two slots that want the same one load it once."""

    def __init__(self, folders: Mapping[str, Path], device: str) -> None:
        self._folders = dict(folders)
        self._device = choose_device(device)
        self._loaded: dict[str, LoadedModel] = {}
        self._locks = {model_id: threading.Lock() for model_id in folders}

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def loaded_ids(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    def get(self, model_id: str) -> LoadedModel:
        """Raises `GenerationFailed` if this worker has no such model or can't read it."""
        lock = self._locks.get(model_id)
        if lock is None:
            raise GenerationFailed(f"Model not found: {model_id}")
        with lock:
            if model_id not in self._loaded:
                self._loaded[model_id] = self._load(model_id)
            return self._loaded[model_id]

    def _load(self, model_id: str) -> LoadedModel:
        started = time.monotonic()
        dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        try:
            pipeline = StableDiffusionPipeline.from_pretrained(
                self._folders[model_id],
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                safety_checker=None,
                requires_safety_checker=False,
            )
        except (OSError, ValueError, KeyError) as exc:
            logger.exception("model not loaded", extra={"model_id": model_id})
            raise GenerationFailed(f"Model {model_id} can't be loaded on the server.") from exc
        pipeline.to(self._device)
        logger.info(
            "model loaded", extra={"model_id": model_id, "seconds": round(time.monotonic() - started, 2)}
        )
        return from_pipeline(model_id, pipeline)


def from_pipeline(model_id: str, pipeline: StableDiffusionPipeline) -> LoadedModel:
    """The parts of a loaded diffusers pipeline, sharing its weights."""
    return LoadedModel(
        model_id=model_id,
        tokenizer=pipeline.tokenizer,
        text_encoder=pipeline.text_encoder,
        unet=pipeline.unet,
        vae=pipeline.vae,
        scheduler_config=pipeline.scheduler.config,
        device=pipeline.unet.device,
        dtype=pipeline.unet.dtype,
    )


def choose_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
