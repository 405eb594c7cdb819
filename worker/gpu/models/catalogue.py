"""What one job may borrow: for each kind and id of model how it is loaded, and how large it is.

Loads nothing itself: what is wanted, the shelf loads (cache.py).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from shared.errors import GenerationFailed
from shared.hints import TOOL_KINDS, Tool
from shared.ip_adapters import IP_ADAPTERS
from shared.jobs import PictureSpec
from shared.missing import NO_FACE_ENHANCER
from shared.registry import ModelKind
from shared.settings import Settings
from worker.gpu.enlarging import Upscaler, load_face_enhancer, load_upscaler
from worker.gpu.filming import expected_bytes, load_video_model, measured_bytes
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.flux import is_flux, load_flux
from worker.gpu.hints import FILES, load_network
from worker.gpu.models.adapters import Lora, read_lora
from worker.gpu.models.cache import Key, Wanted
from worker.gpu.models.controlnets import load_controlnet
from worker.gpu.models.embeddings import Embedding, read_embedding
from worker.gpu.models.ip_files import load_image_encoder, load_ip_weights
from worker.gpu.models.loading import Tuning, bytes_on_disk, load_checkpoint, load_vae, timed
from worker.gpu.models.places import Place, Places
from worker.gpu.models.precision import Precision, bytes_of
from worker.gpu.words import PromptWriter, Translator

IMAGE_ENCODER, HINT_NETWORK = "image_encoder", "hint_network"
"""Kinds of things on the shelf that are parts of registered ones."""
TITLES = {
    ModelKind.CHECKPOINT: "Model",
    ModelKind.LORA: "LoRA",
    ModelKind.EMBEDDING: "Embedding",
    ModelKind.VAE: "VAE",
    ModelKind.CONTROLNET: "ControlNet",
    ModelKind.UPSCALER: "Upscaler",
    ModelKind.VIDEO: "Video model",
}


class Catalogue:
    """Its methods raise `GenerationFailed` for an id that the job may not use."""

    def __init__(self, settings: Settings, precision: Precision, places: Places) -> None:
        self._settings = settings
        self._precision = precision
        self._places = places
        self._tuning = Tuning(settings.tomesd_share, settings.compile_backend)

    def first_of(self, place: Place) -> Wanted | None:
        """How a registered model is loaded by itself; None of what is only loaded onto others. Those are read
        now, and raise if that can't be done."""
        model_id, entry_id = place.entry.model_id, place.entry.entry_id
        by_id: dict[ModelKind, Callable[[str], Wanted]] = {
            ModelKind.CHECKPOINT: self.checkpoint,
            ModelKind.VAE: self.vae,
            ModelKind.CONTROLNET: self.controlnet,
            ModelKind.UPSCALER: self.upscaler,
            ModelKind.VIDEO: self.video,
        }
        tools: dict[ModelKind, Callable[[], Wanted | None]] = {
            ModelKind.SAFETY: self.checker,
            ModelKind.TRANSLATOR: self.translator,
            ModelKind.ENHANCER: self.prompt_writer,
            ModelKind.FACE: self.face_enhancer,
        }
        readers = {ModelKind.LORA: read_lora, ModelKind.EMBEDDING: read_embedding}
        kind = place.entry.kind
        if kind in readers:
            readers[kind](model_id, place.path, entry_id)
        return by_id[kind](model_id) if kind in by_id else tools.get(kind, lambda: None)()

    def checkpoint(self, model_id: str) -> Wanted:
        """Of Stable Diffusion or of Flux, as its folder says."""
        place = self._find(ModelKind.CHECKPOINT, model_id)
        if is_flux(place.path):
            load: Callable[[], Any] = partial(load_flux, model_id, place.path, self._precision)
        else:
            load = partial(load_checkpoint, model_id, place.path, self._precision, self._tuning)
        return Wanted(key_of(place), load, self._on_disk(place.path), lambda model: int(model.bytes))

    def is_flux(self, model_id: str) -> bool:
        return is_flux(self._find(ModelKind.CHECKPOINT, model_id).path)

    def vae(self, vae_id: str) -> Wanted:
        place = self._find(ModelKind.VAE, vae_id)
        load = partial(load_vae, vae_id, place.path, self._precision)
        return Wanted(key_of(place), load, self._on_disk(place.path), bytes_of)

    def upscaler(self, name: str) -> Wanted:
        return self._upscaler(self._find(ModelKind.UPSCALER, name))

    def default_upscaler(self) -> Wanted | None:
        """None if no upscaler is installed."""
        place = self._places.default(ModelKind.UPSCALER)
        return self._upscaler(place) if place else None

    def checker(self) -> Wanted | None:
        """None if no safety checker is installed."""
        return self._tool(ModelKind.SAFETY, "The safety checker", self._load_checker)

    def translator(self) -> Wanted | None:
        """None if none is installed."""
        return self._tool(
            ModelKind.TRANSLATOR,
            "The translator",
            lambda path: Translator.load(str(path), self._precision.device),
        )

    def prompt_writer(self) -> Wanted | None:
        """None if none is installed."""
        return self._tool(
            ModelKind.ENHANCER,
            "The prompt writer",
            lambda path: PromptWriter.load(str(path), self._precision.device),
        )

    def ip_adapter(self, adapter_id: str) -> list[Wanted]:
        """Its weights, and its image encoder, which several adapters share."""
        place = self._find(ModelKind.IP_ADAPTER, adapter_id)
        files = IP_ADAPTERS[adapter_id]

        def wanted(key: Key, path: str, load: Callable[[str, Path, Precision], Any]) -> Wanted:
            read = partial(load, adapter_id, place.path, self._precision)
            return Wanted(key, read, self._on_disk(place.path / path), lambda each: int(each.bytes))

        encoder = Key(IMAGE_ENCODER, files.image_encoder, str(place.path))
        return [
            wanted(key_of(place), files.weights, load_ip_weights),
            wanted(encoder, files.image_encoder, load_image_encoder),
        ]

    def controlnet(self, control_id: str) -> Wanted:
        place = self._find(ModelKind.CONTROLNET, control_id)
        load = partial(load_controlnet, control_id, place.path, self._precision)
        return Wanted(key_of(place), load, self._on_disk(place.path), lambda each: int(each.bytes))

    def hint_network(self, tool: Tool) -> Wanted | None:
        """None if none is installed."""
        place = self._places.default(TOOL_KINDS[tool])
        if place is None:
            return None
        path = place.path / FILES[tool] if tool in FILES else place.path
        read = partial(load_network, tool, str(place.path), self._precision.device, self._precision.dtype)
        return Wanted(
            Key(HINT_NETWORK, tool, place.entry.entry_id),
            partial(timed, f"The network for {tool} hints", read),
            self._on_disk(path),
            lambda each: bytes_of(each.module),
        )

    def face_enhancer(self) -> Wanted:
        read = partial(load_face_enhancer, device=self._precision.device, dtype=self._precision.dtype)
        wanted = self._tool(ModelKind.FACE, "The face enhancer", read)
        if wanted is None:
            raise GenerationFailed(NO_FACE_ENHANCER)
        return wanted

    def video(self, video_id: str) -> Wanted:
        """A video model, or a checkpoint that the installed motion adapter sets in motion."""
        place = self._places.find(ModelKind.VIDEO, video_id) or self._find(ModelKind.CHECKPOINT, video_id)
        motion = self._places.default(ModelKind.MOTION)
        adapter, moved_by = (motion.path, motion.entry.entry_id) if motion else (None, "")
        return Wanted(
            Key(ModelKind.VIDEO, video_id, f"{place.entry.entry_id} {moved_by}"),
            partial(load_video_model, video_id, place.path, self._precision, adapter),
            expected_bytes(place.path, self._precision, adapter),
            measured_bytes,
        )

    def loras(self, spec: PictureSpec) -> tuple[Lora, ...]:
        """Their weights, read now: they are attached to the model on the engine's thread."""
        places = [self._find(ModelKind.LORA, use.lora_id) for use in spec.loras]
        return tuple(read_lora(each.entry.model_id, each.path, each.entry.entry_id) for each in places)

    def embeddings(self, spec: PictureSpec) -> tuple[Embedding, ...]:
        places = [self._find(ModelKind.EMBEDDING, name) for name in spec.embeddings]
        return tuple(read_embedding(each.entry.model_id, each.path, each.entry.entry_id) for each in places)

    def _find(self, kind: ModelKind, model_id: str) -> Place:
        place = self._places.find(kind, model_id)
        if place is None:
            raise GenerationFailed(f"{TITLES.get(kind, kind)} not found: {model_id}")
        return place

    def _tool(self, kind: ModelKind, what: str, load: Callable[[Path], Any]) -> Wanted | None:
        place = self._places.default(kind)
        if place is None:
            return None
        size = self._on_disk(place.path)
        return Wanted(key_of(place), partial(timed, what, partial(load, place.path)), size, lambda _: size)

    def _upscaler(self, place: Place) -> Wanted:
        name, size = place.entry.model_id, self._on_disk(place.path)

        def load() -> Upscaler:
            device, dtype = self._precision.device, self._precision.dtype
            return timed(f"Upscaler {name}", partial(load_upscaler, name, str(place.path), device, dtype))

        return Wanted(key_of(place), load, size, lambda _: size)

    def _load_checker(self, path: Path) -> SafetyChecker:
        return SafetyChecker.load(str(path), self._precision.device, self._precision.dtype)

    def _on_disk(self, path: Path) -> int:
        return bytes_on_disk(path, self._precision.dtype)


def key_of(place: Place) -> Key:
    return Key(place.entry.kind, place.entry.model_id, place.entry.entry_id)
