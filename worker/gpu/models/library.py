"""Lends out the loaded things that jobs are made with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from diffusers import AutoencoderKL

from shared.errors import GenerationFailed
from shared.jobs import PictureSpec
from shared.settings import Settings
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.models.cache import Shelf, Wanted
from worker.gpu.models.catalogue import (
    CHECKER,
    CHECKPOINT,
    IMAGE_ENCODER,
    IP_ADAPTER,
    UPSCALER,
    VAE,
    Catalogue,
)
from worker.gpu.models.ip_adapters import IpAdapter
from worker.gpu.models.loaded import LoadedModel
from worker.gpu.models.precision import Precision
from worker.gpu.painting.kit import Kit

DEVICE_SHARE = 0.7
"""Of a device's memory, when no budget is set; the rest is for the forwards themselves."""


class Library:
    """Files are read and weights loaded in the thread that asks, never in the engine's."""

    def __init__(self, settings: Settings, precision: Precision) -> None:
        self._settings = settings
        self._precision = precision
        self._catalogue = Catalogue(settings, precision)
        self._shelf = Shelf(settings.model_memory_bytes or _device_bytes(precision.device))

    @property
    def device(self) -> torch.device:
        return self._precision.device

    @property
    def loaded_ids(self) -> tuple[str, ...]:
        """Ids of the checkpoints that are loaded."""
        return self._shelf.names(CHECKPOINT)

    def make_room(self) -> bool:
        """Let go of what no job uses; tells whether there was anything."""
        return self._shelf.evict_unused()

    def preload(self, model_id: str) -> None:
        """Raises `GenerationFailed` if it can't be loaded."""
        with self._shelf.borrow([self._catalogue.checkpoint(model_id)]):
            pass

    @contextmanager
    def kit(self, spec: PictureSpec) -> Iterator[Kit]:
        """What the job's pictures are made with. Raises `GenerationFailed` for what is not here or can't be
        read."""
        catalogue, upscaler_id = self._catalogue, self._settings.upscaler_id
        wanted = [
            catalogue.checkpoint(spec.model_id),
            catalogue.vae(spec.vae) if spec.vae else None,
            catalogue.upscaler(upscaler_id) if spec.upscale and upscaler_id else None,
            catalogue.checker() if spec.safety_checker else None,
            *(catalogue.ip_adapter(spec.ip_adapter.adapter_id) if spec.ip_adapter else ()),
        ]
        loras, embeddings = catalogue.loras(spec), catalogue.embeddings(spec)
        with self._borrow(wanted) as lent:
            model: LoadedModel = lent[CHECKPOINT]
            vae: AutoencoderKL = lent.get(VAE, model.vae)
            _require_fit(spec.vae, vae, model)
            yield Kit(
                model=model,
                vae=vae,
                vae_id=spec.vae or "",
                loras=loras,
                embeddings=embeddings,
                ip_adapter=IpAdapter(lent[IP_ADAPTER], lent[IMAGE_ENCODER]) if spec.ip_adapter else None,
                checker=lent.get(CHECKER),
                upscaler=lent.get(UPSCALER),
            )

    @contextmanager
    def checker(self) -> Iterator[SafetyChecker | None]:
        """The safety checker, if one is installed."""
        with self._borrow([self._catalogue.checker()]) as lent:
            yield lent.get(CHECKER)

    @contextmanager
    def _borrow(self, wanted: Sequence[Wanted | None]) -> Iterator[dict[str, Any]]:
        """By kind."""
        present = [each for each in wanted if each is not None]
        with self._shelf.borrow(present) as lent:
            yield {each.key.kind: thing for each, thing in zip(present, lent, strict=True)}


def _require_fit(vae_id: str | None, vae: AutoencoderKL, model: LoadedModel) -> None:
    channels, halvings = int(vae.config.latent_channels), len(vae.config.block_out_channels) - 1
    if channels != model.latent_channels or 2**halvings != model.scale:
        raise GenerationFailed(f"VAE {vae_id} does not fit this model: it is made for other latents.")


def _device_bytes(device: torch.device) -> int:
    total = (
        torch.cuda.get_device_properties(device).total_memory
        if device.type == "cuda"
        else psutil.virtual_memory().total
    )
    return int(DEVICE_SHARE * total)
