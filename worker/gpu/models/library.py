"""Everything that this worker can make pictures with: what its settings name, and what of it is loaded."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from diffusers import AutoencoderKL

from shared.errors import GenerationFailed
from shared.jobs import PictureSpec
from shared.settings import Settings
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.finishing.upscale import Upscaler, load_upscaler
from worker.gpu.models.adapters import Lora, read_lora
from worker.gpu.models.cache import Key, Shelf, Wanted
from worker.gpu.models.embeddings import Embedding, read_embedding
from worker.gpu.models.loaded import LoadedModel
from worker.gpu.models.loading import Tuning, bytes_on_disk, load_checkpoint, load_vae, timed
from worker.gpu.models.precision import Precision, bytes_of
from worker.gpu.painting.kit import Kit

logger = logging.getLogger(__name__)

CHECKPOINT, VAE, UPSCALER, CHECKER = "checkpoint", "vae", "upscaler", "safety"
DEVICE_SHARE = 0.7
"""Of a device's memory, when no budget is set; the rest is for the forwards themselves."""


class Library:
    """Lends out kits. Files are read and weights loaded in the thread that asks, never in the engine's."""

    def __init__(self, settings: Settings, precision: Precision) -> None:
        self._settings = settings
        self._precision = precision
        self._tuning = Tuning(settings.tomesd_share, settings.compile_backend)
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
        with self._shelf.borrow([self._checkpoint(model_id)]):
            pass

    @contextmanager
    def kit(self, spec: PictureSpec) -> Iterator[Kit]:
        """What the job's pictures are made with. Raises `GenerationFailed` for what is not here or can't be
        read."""
        wanted = [self._checkpoint(spec.model_id)]
        if spec.vae:
            wanted.append(self._vae(spec.vae))
        if spec.upscale and self._settings.upscaler_id:
            wanted.append(self._upscaler(self._settings.upscaler_id))
        if spec.safety_checker and self._settings.safety_checker:
            wanted.append(self._checker(self._settings.safety_checker))
        loras, embeddings = self._loras(spec), self._embeddings(spec)
        with self._shelf.borrow(wanted) as lent:
            by_kind: dict[str, Any] = {each.key.kind: thing for each, thing in zip(wanted, lent, strict=True)}
            model: LoadedModel = by_kind[CHECKPOINT]
            vae: AutoencoderKL = by_kind.get(VAE, model.vae)
            _require_fit(spec.vae, vae, model)
            yield Kit(
                model=model,
                vae=vae,
                vae_id=spec.vae or "",
                loras=loras,
                embeddings=embeddings,
                checker=by_kind.get(CHECKER),
                upscaler=by_kind.get(UPSCALER),
            )

    @contextmanager
    def checker(self) -> Iterator[SafetyChecker | None]:
        """The safety checker, if one is installed."""
        source = self._settings.safety_checker
        with self._shelf.borrow([self._checker(source)] if source else []) as lent:
            yield lent[0] if lent else None

    def _checkpoint(self, model_id: str) -> Wanted:
        folder = _find(self._settings.models, model_id, "Model")
        return Wanted(
            Key(CHECKPOINT, model_id),
            partial(load_checkpoint, model_id, folder, self._precision, self._tuning),
            bytes_on_disk(folder, self._precision.dtype),
            lambda model: bytes_of(model.unet, model.vae, *(each.network for each in model.encoders)),
        )

    def _vae(self, vae_id: str) -> Wanted:
        folder = _find(self._settings.vaes, vae_id, "VAE")
        load = partial(load_vae, vae_id, folder, self._precision)
        return Wanted(Key(VAE, vae_id), load, bytes_on_disk(folder, self._precision.dtype), bytes_of)

    def _upscaler(self, name: str) -> Wanted:
        source = _find(self._settings.upscalers, name, "Upscaler")
        size = bytes_on_disk(source, self._precision.dtype)

        def load() -> Upscaler:
            read = partial(load_upscaler, name, str(source), self.device, self._precision.dtype)
            return timed(f"Upscaler {name}", read)

        return Wanted(Key(UPSCALER, name), load, size, lambda _: size)

    def _checker(self, source: str) -> Wanted:
        size = bytes_on_disk(Path(source), self._precision.dtype)

        def load() -> SafetyChecker:
            read = partial(SafetyChecker.load, source, self.device, self._precision.dtype)
            return timed("The safety checker", read)

        return Wanted(Key(CHECKER, source), load, size, lambda _: size)

    def _loras(self, spec: PictureSpec) -> tuple[Lora, ...]:
        files = {use.lora_id: _find(self._settings.loras, use.lora_id, "LoRA") for use in spec.loras}
        return tuple(read_lora(lora_id, file) for lora_id, file in files.items())

    def _embeddings(self, spec: PictureSpec) -> tuple[Embedding, ...]:
        files = {name: _find(self._settings.embeddings, name, "Embedding") for name in spec.embeddings}
        return tuple(read_embedding(name, file) for name, file in files.items())


def _require_fit(vae_id: str | None, vae: AutoencoderKL, model: LoadedModel) -> None:
    channels, halvings = int(vae.config.latent_channels), len(vae.config.block_out_channels) - 1
    if channels != model.latent_channels or 2**halvings != model.scale:
        raise GenerationFailed(f"VAE {vae_id} does not fit this model: it is made for other latents.")


def _find(places: Mapping[str, Path], name: str, what: str) -> Path:
    if name not in places:
        raise GenerationFailed(f"{what} not found: {name}")
    return places[name]


def _device_bytes(device: torch.device) -> int:
    total = (
        torch.cuda.get_device_properties(device).total_memory
        if device.type == "cuda"
        else psutil.virtual_memory().total
    )
    return int(DEVICE_SHARE * total)
