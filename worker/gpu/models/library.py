"""Lends out the loaded things that jobs are made with."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from diffusers import AutoencoderKL

from shared.errors import GenerationFailed
from shared.hints import HINT_TYPES, Tool
from shared.jobs import CheckSpec, EnlargementSpec, FilmSpec, JobSpec, PictureSpec, given_pixels
from shared.registry import Entry, ModelKind
from shared.settings import Settings
from worker.gpu.enlarging import FaceEnhancer, Upscaler, largest_pixels
from worker.gpu.filming import VideoModel
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.flux import FluxKit
from worker.gpu.hints import HintNetwork
from worker.gpu.models.cache import Key, Shelf, ShelfObserver, Wanted
from worker.gpu.models.catalogue import HINT_NETWORK, IMAGE_ENCODER, Catalogue
from worker.gpu.models.controlnets import require_fit
from worker.gpu.models.ip_adapters import IpAdapter
from worker.gpu.models.loaded import LoadedModel
from worker.gpu.models.places import Models, Only, Place, Places
from worker.gpu.models.precision import Precision
from worker.gpu.painting.kit import Kit
from worker.gpu.words import Wording

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

    def identity(self, kind: str) -> str:
        """What tells the only one of this kind from all others, at all times; empty if there is none."""
        return next((f"{key.name} {key.version}" for key in self.things if key.kind == kind), "")


class Library:
    """Files are read and weights loaded in the thread that asks, never in the engine's.

    What it lends raises `GenerationFailed` for what is not here, can't be read, or does not fit together.
    """

    def __init__(
        self,
        settings: Settings,
        precision: Precision,
        models: Models,
        observer: ShelfObserver | None = None,
    ) -> None:
        self._settings = settings
        self._precision = precision
        self._models = models
        self._shelf = Shelf(settings.model_memory_bytes or _device_bytes(precision.device), observer)

    @property
    def device(self) -> torch.device:
        return self._precision.device

    @property
    def loaded_ids(self) -> tuple[str, ...]:
        """Ids of the models that are loaded, by which jobs name what they want most."""
        return tuple(
            {
                name
                for kind in (ModelKind.CHECKPOINT, ModelKind.VIDEO, ModelKind.UPSCALER, ModelKind.SAFETY)
                for name in self._shelf.names(kind)
            }
        )

    @property
    def load_s(self) -> float | None:
        """How long the last load of a checkpoint took; None if there was none yet."""
        return self._shelf.load_s.get(ModelKind.CHECKPOINT)

    @property
    def model_bytes(self) -> int:
        """What is loaded takes; of what is being loaded, what is expected."""
        return self._shelf.bytes()

    def make_room(self) -> bool:
        """Let go of what no job uses; tells whether there was anything."""
        return self._shelf.evict_unused()

    def forget(self, entry_ids: Collection[str]) -> None:
        """Let go of these entries of the registry, which no job uses any more."""
        self._shelf.evict_unused(entry_ids)

    def checkpoints(self) -> list[Entry]:
        """Those that are registered now, and lie on this machine already."""
        return [place.entry for place in self._models.current().here(ModelKind.CHECKPOINT)]

    def preload(self, model_id: str) -> None:
        """Load a checkpoint, if there is room for it: no other is let go for it."""
        wanted = self._catalogue(self._models.current()).checkpoint(model_id)
        with self._shelf.borrow([wanted] if self._shelf.has_room(wanted) else []):
            pass

    def try_out(self, place: Place) -> None:
        """Load what was just installed, as a job would; raises `GenerationFailed` if that can't be done."""
        wanted = self._catalogue(Only(place, self._models.current())).first_of(place)
        with self._shelf.borrow([wanted] if wanted else []):
            pass

    @contextmanager
    def wording(self, spec: PictureSpec | FilmSpec) -> Iterator[Wording]:
        """What the job's words are prepared with. To be given back before its kit is borrowed: two jobs that
        each hold one and wait for room for the other would wait for ever."""
        catalogue = self._catalogue_of(spec)
        wanted = [
            catalogue.translator() if isinstance(spec, PictureSpec) and spec.multi_lingual else None,
            catalogue.prompt_writer() if spec.enhance_prompt else None,
        ]
        with self._borrow(wanted) as lent:
            yield Wording(lent.one(ModelKind.TRANSLATOR), lent.one(ModelKind.ENHANCER))

    def kit(self, spec: PictureSpec) -> AbstractContextManager[Kit | FluxKit]:
        """What the job's pictures are made with."""
        catalogue = self._catalogue_of(spec)
        is_flux = catalogue.is_flux(spec.model_id)
        return self._flux_kit(spec, catalogue) if is_flux else self._sd_kit(spec, catalogue)

    @contextmanager
    def _flux_kit(self, spec: PictureSpec, catalogue: Catalogue) -> Iterator[FluxKit]:
        """Flux has no use for the rest of what a job may name."""
        loras = catalogue.loras(spec)
        with self._borrow(_always_wanted(spec, catalogue)) as lent:
            yield FluxKit(
                model=lent.one(ModelKind.CHECKPOINT),
                checker=lent.one(ModelKind.SAFETY),
                upscaler=lent.one(ModelKind.UPSCALER),
                loras=loras,
            )

    @contextmanager
    def _sd_kit(self, spec: PictureSpec, catalogue: Catalogue) -> Iterator[Kit]:
        hint = spec.hint
        adapter = spec.ip_adapter if spec.ip_adapter and spec.ip_adapter.scale else None
        wanted = [
            *_always_wanted(spec, catalogue),
            catalogue.vae(spec.vae) if spec.vae else None,
            *(catalogue.ip_adapter(adapter.adapter_id) if adapter else ()),
            *(catalogue.controlnet(use.control_id) for use in (hint.controls if hint else ())),
        ]
        loras, embeddings = catalogue.loras(spec), catalogue.embeddings(spec)
        with self._borrow(wanted) as lent:
            model: LoadedModel = lent.one(ModelKind.CHECKPOINT)
            vae: AutoencoderKL = lent.one(ModelKind.VAE) or model.vae
            _require_fit(spec.vae, vae, model)
            for controlnet in lent.all(ModelKind.CONTROLNET).values():
                require_fit(controlnet, model)
            yield Kit(
                model=model,
                vae=vae,
                vae_id=lent.identity(ModelKind.VAE),
                checker=lent.one(ModelKind.SAFETY),
                upscaler=lent.one(ModelKind.UPSCALER),
                loras=loras,
                embeddings=embeddings,
                ip_adapter=IpAdapter(lent.one(ModelKind.IP_ADAPTER), lent.one(IMAGE_ENCODER))
                if adapter
                else None,
                controlnets=lent.all(ModelKind.CONTROLNET),
            )

    @contextmanager
    def checker(self, spec: CheckSpec) -> Iterator[SafetyChecker | None]:
        """The safety checker, if one is installed."""
        with self._borrow([self._catalogue_of(spec).checker()]) as lent:
            yield lent.one(ModelKind.SAFETY)

    @contextmanager
    def hint_networks(
        self, spec: PictureSpec, hint_types: Sequence[str]
    ) -> Iterator[dict[Tool, HintNetwork]]:
        """Those of the networks for hints of these types that are installed."""
        tools = {tool for tool in map(HINT_TYPES.get, hint_types) if tool is not None}
        catalogue = self._catalogue_of(spec)
        with self._borrow([catalogue.hint_network(tool) for tool in sorted(tools)]) as lent:
            yield {Tool(name): network for name, network in lent.all(HINT_NETWORK).items()}

    @contextmanager
    def enlarging(self, spec: EnlargementSpec) -> Iterator[tuple[Upscaler, FaceEnhancer | None]]:
        catalogue = self._catalogue_of(spec)
        faces = catalogue.face_enhancer() if spec.face_enhance else None
        with self._borrow([catalogue.upscaler(spec.model_id), faces]) as lent:
            upscaler: Upscaler = lent.one(ModelKind.UPSCALER)
            most = self._settings.max_enlarged_pixels * LARGER_ON_THE_WAY
            if largest_pixels(upscaler, given_pixels(spec), spec.scale) > most:
                raise GenerationFailed(
                    f"Upscaler {spec.model_id} makes pictures {upscaler.scale} times as large at a time, "
                    "too much for this picture and scale: send a smaller picture, or another scale."
                )
            yield upscaler, lent.one(ModelKind.FACE)

    @contextmanager
    def video_model(self, spec: FilmSpec) -> Iterator[VideoModel]:
        with self._borrow([self._catalogue_of(spec).video(spec.model_id)]) as lent:
            yield lent.one(ModelKind.VIDEO)

    def _catalogue_of(self, spec: JobSpec) -> Catalogue:
        return self._catalogue(self._models.of(spec))

    def _catalogue(self, places: Places) -> Catalogue:
        return Catalogue(self._settings, self._precision, places)

    @contextmanager
    def _borrow(self, wanted: Sequence[Wanted | None]) -> Iterator[Lent]:
        present = [each for each in wanted if each is not None]
        with self._shelf.borrow(present) as things:
            yield Lent({each.key: thing for each, thing in zip(present, things, strict=True)})


def _always_wanted(spec: PictureSpec, catalogue: Catalogue) -> list[Wanted | None]:
    """Whatever the model's family."""
    return [
        catalogue.checkpoint(spec.model_id),
        catalogue.default_upscaler() if spec.upscale else None,
        catalogue.checker() if spec.safety_checker else None,
    ]


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
