"""Lends out the loaded things that jobs are made with."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from diffusers import AutoencoderKL

from shared.errors import GenerationFailed
from shared.hints import HINT_TYPES, Tool
from shared.jobs import EnlargementSpec, FilmSpec, PictureSpec, given_pixels
from shared.settings import Settings
from worker.gpu.enlarging import FaceEnhancer, Upscaler, largest_pixels
from worker.gpu.filming import VideoModel
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.flux import FluxKit
from worker.gpu.hints import HintNetwork
from worker.gpu.models.cache import Key, Shelf, Wanted
from worker.gpu.models.catalogue import (
    CHECKER,
    CHECKPOINT,
    CONTROLNET,
    FACE_ENHANCER,
    HINT_NETWORK,
    IMAGE_ENCODER,
    IP_ADAPTER,
    UPSCALER,
    VAE,
    VIDEO,
    Catalogue,
)
from worker.gpu.models.controlnets import require_fit
from worker.gpu.models.ip_adapters import IpAdapter
from worker.gpu.models.loaded import LoadedModel
from worker.gpu.models.precision import Precision
from worker.gpu.painting.kit import Kit

DEVICE_SHARE = 0.7
"""Of a device's memory, when no budget is set; the rest is for the forwards themselves."""
LARGER_ON_THE_WAY = 4
"""How much larger than the largest result a picture may be on the way to it."""


@dataclass(frozen=True)
class Lent:
    """What a job has borrowed."""

    things: dict[Key, Any]

    def one(self, kind: str) -> Any:
        """The only one of this kind, or None."""
        return next(iter(self.all(kind).values()), None)

    def all(self, kind: str) -> dict[str, Any]:
        """By name."""
        return {key.name: thing for key, thing in self.things.items() if key.kind == kind}


class Library:
    """Files are read and weights loaded in the thread that asks, never in the engine's.

    What it lends raises `GenerationFailed` for what is not here, can't be read, or does not fit together.
    """

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
        """Ids of the models that are loaded, by which jobs name what they want most."""
        return tuple(
            {name for kind in (CHECKPOINT, VIDEO, UPSCALER, CHECKER) for name in self._shelf.names(kind)}
        )

    def make_room(self) -> bool:
        """Let go of what no job uses; tells whether there was anything."""
        return self._shelf.evict_unused()

    def preload(self, model_id: str) -> None:
        with self._shelf.borrow([self._catalogue.checkpoint(model_id)]):
            pass

    def kit(self, spec: PictureSpec) -> AbstractContextManager[Kit | FluxKit]:
        """What the job's pictures are made with."""
        return self._flux_kit(spec) if self._catalogue.is_flux(spec.model_id) else self._sd_kit(spec)

    @contextmanager
    def _flux_kit(self, spec: PictureSpec) -> Iterator[FluxKit]:
        """Flux has no use for the rest of what a job may name."""
        loras = self._catalogue.loras(spec)
        with self._borrow(self._always_wanted(spec)) as lent:
            yield FluxKit(
                model=lent.one(CHECKPOINT),
                checker=lent.one(CHECKER),
                upscaler=lent.one(UPSCALER),
                loras=loras,
            )

    @contextmanager
    def _sd_kit(self, spec: PictureSpec) -> Iterator[Kit]:
        catalogue, hint = self._catalogue, spec.hint
        adapter = spec.ip_adapter if spec.ip_adapter and spec.ip_adapter.scale else None
        wanted = [
            *self._always_wanted(spec),
            catalogue.vae(spec.vae) if spec.vae else None,
            *(catalogue.ip_adapter(adapter.adapter_id) if adapter else ()),
            *(catalogue.controlnet(use.control_id) for use in (hint.controls if hint else ())),
        ]
        loras, embeddings = catalogue.loras(spec), catalogue.embeddings(spec)
        with self._borrow(wanted) as lent:
            model: LoadedModel = lent.one(CHECKPOINT)
            vae: AutoencoderKL = lent.one(VAE) or model.vae
            _require_fit(spec.vae, vae, model)
            for controlnet in lent.all(CONTROLNET).values():
                require_fit(controlnet, model)
            yield Kit(
                model=model,
                vae=vae,
                vae_id=spec.vae or "",
                checker=lent.one(CHECKER),
                upscaler=lent.one(UPSCALER),
                loras=loras,
                embeddings=embeddings,
                ip_adapter=IpAdapter(lent.one(IP_ADAPTER), lent.one(IMAGE_ENCODER)) if adapter else None,
                controlnets=lent.all(CONTROLNET),
            )

    def _always_wanted(self, spec: PictureSpec) -> list[Wanted | None]:
        """Whatever the model's family."""
        catalogue, upscaler_id = self._catalogue, self._settings.upscaler_id
        return [
            catalogue.checkpoint(spec.model_id),
            catalogue.upscaler(upscaler_id) if spec.upscale and upscaler_id else None,
            catalogue.checker() if spec.safety_checker else None,
        ]

    @contextmanager
    def checker(self) -> Iterator[SafetyChecker | None]:
        """The safety checker, if one is installed."""
        with self._borrow([self._catalogue.checker()]) as lent:
            yield lent.one(CHECKER)

    @contextmanager
    def hint_networks(self, hint_types: Sequence[str]) -> Iterator[dict[Tool, HintNetwork]]:
        """Those of the networks for hints of these types that are installed."""
        tools = {tool for tool in map(HINT_TYPES.get, hint_types) if tool is not None}
        with self._borrow([self._catalogue.hint_network(tool) for tool in sorted(tools)]) as lent:
            yield {Tool(name): network for name, network in lent.all(HINT_NETWORK).items()}

    @contextmanager
    def enlarging(self, spec: EnlargementSpec) -> Iterator[tuple[Upscaler, FaceEnhancer | None]]:
        faces = self._catalogue.face_enhancer() if spec.face_enhance else None
        with self._borrow([self._catalogue.upscaler(spec.model_id), faces]) as lent:
            upscaler: Upscaler = lent.one(UPSCALER)
            most = self._settings.max_enlarged_pixels * LARGER_ON_THE_WAY
            if largest_pixels(upscaler, given_pixels(spec), spec.scale) > most:
                raise GenerationFailed(
                    f"Upscaler {spec.model_id} makes pictures {upscaler.scale} times as large at a time, "
                    "too much for this picture and scale: send a smaller picture, or another scale."
                )
            yield upscaler, lent.one(FACE_ENHANCER)

    @contextmanager
    def video_model(self, spec: FilmSpec) -> Iterator[VideoModel]:
        with self._borrow([self._catalogue.video(spec.model_id)]) as lent:
            yield lent.one(VIDEO)

    @contextmanager
    def _borrow(self, wanted: Sequence[Wanted | None]) -> Iterator[Lent]:
        present = [each for each in wanted if each is not None]
        with self._shelf.borrow(present) as things:
            yield Lent({each.key: thing for each, thing in zip(present, things, strict=True)})


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
