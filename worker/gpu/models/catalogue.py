"""Everything that this worker's settings name: for each kind and id how it is loaded, and how large it is.

Loads nothing itself: what is wanted, the shelf loads (cache.py).
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from shared.errors import GenerationFailed
from shared.hints import Tool, source_of
from shared.ip_adapters import IP_ADAPTERS, installed, not_installed
from shared.jobs import PictureSpec
from shared.missing import NO_FACE_ENHANCER
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
from worker.gpu.models.precision import Precision, bytes_of

CHECKPOINT, VAE, UPSCALER, CHECKER = "checkpoint", "vae", "upscaler", "safety"
IP_ADAPTER, IMAGE_ENCODER = "ip_adapter", "image_encoder"
CONTROLNET, HINT_NETWORK = "controlnet", "hint_network"
FACE_ENHANCER, VIDEO = "face_enhancer", "video"
HUB_BYTES = 1 << 30
"""What a model is expected to take that is not on disk yet."""


class Catalogue:
    """Its methods raise `GenerationFailed` for an id that the settings don't name."""

    def __init__(self, settings: Settings, precision: Precision) -> None:
        self._settings = settings
        self._precision = precision
        self._tuning = Tuning(settings.tomesd_share, settings.compile_backend)

    def checkpoint(self, model_id: str) -> Wanted:
        """Of Stable Diffusion or of Flux, as its folder says."""
        folder = _find(self._settings.models, model_id, "Model")
        if self.is_flux(model_id):
            load: Callable[[], Any] = partial(load_flux, model_id, folder, self._precision)
        else:
            load = partial(load_checkpoint, model_id, folder, self._precision, self._tuning)
        return Wanted(
            Key(CHECKPOINT, model_id),
            load,
            bytes_on_disk(folder, self._precision.dtype),
            lambda model: int(model.bytes),
        )

    def is_flux(self, model_id: str) -> bool:
        return is_flux(_find(self._settings.models, model_id, "Model"))

    def vae(self, vae_id: str) -> Wanted:
        folder = _find(self._settings.vaes, vae_id, "VAE")
        load = partial(load_vae, vae_id, folder, self._precision)
        return Wanted(Key(VAE, vae_id), load, bytes_on_disk(folder, self._precision.dtype), bytes_of)

    def upscaler(self, name: str) -> Wanted:
        source = _find(self._settings.upscalers, name, "Upscaler")
        size = bytes_on_disk(source, self._precision.dtype)

        def load() -> Upscaler:
            read = partial(load_upscaler, name, str(source), self._precision.device, self._precision.dtype)
            return timed(f"Upscaler {name}", read)

        return Wanted(Key(UPSCALER, name), load, size, lambda _: size)

    def checker(self) -> Wanted | None:
        """None if no safety checker is installed."""
        source = self._settings.safety_checker
        if source is None:
            return None
        size = bytes_on_disk(Path(source), self._precision.dtype) if Path(source).exists() else HUB_BYTES
        read = partial(SafetyChecker.load, source, self._precision.device, self._precision.dtype)
        return Wanted(Key(CHECKER, source), partial(timed, "The safety checker", read), size, lambda _: size)

    def ip_adapter(self, adapter_id: str) -> list[Wanted]:
        """Its weights, and its image encoder, which several adapters share."""
        folder = self._settings.ip_adapter_folder
        if folder is None or adapter_id not in installed(folder):
            raise GenerationFailed(not_installed(adapter_id, folder))
        files = IP_ADAPTERS[adapter_id]

        def wanted(kind: str, name: str, path: str, load: Callable[[str, Path, Precision], Any]) -> Wanted:
            size = bytes_on_disk(folder / path, self._precision.dtype)
            read = partial(load, adapter_id, folder, self._precision)
            return Wanted(Key(kind, name), read, size, lambda each: int(each.bytes))

        return [
            wanted(IP_ADAPTER, adapter_id, files.weights, load_ip_weights),
            wanted(IMAGE_ENCODER, files.image_encoder, files.image_encoder, load_image_encoder),
        ]

    def controlnet(self, control_id: str) -> Wanted:
        path = _find(self._settings.controlnets, control_id, "ControlNet")
        return Wanted(
            Key(CONTROLNET, control_id),
            partial(load_controlnet, control_id, path, self._precision),
            bytes_on_disk(path, self._precision.dtype),
            lambda each: int(each.bytes),
        )

    def hint_network(self, tool: Tool) -> Wanted | None:
        """None if the settings name none."""
        source = source_of(tool, self._settings)
        if source is None:
            return None
        path = Path(source) / FILES[tool] if tool in FILES else Path(source)
        size = bytes_on_disk(path, self._precision.dtype) if path.exists() else HUB_BYTES
        read = partial(load_network, tool, str(source), self._precision.device, self._precision.dtype)
        return Wanted(
            Key(HINT_NETWORK, tool),
            partial(timed, f"The network for {tool} hints", read),
            size,
            lambda each: bytes_of(each.module),
        )

    def face_enhancer(self) -> Wanted:
        folder = self._settings.face_enhancer
        if folder is None:
            raise GenerationFailed(NO_FACE_ENHANCER)
        size = bytes_on_disk(folder, self._precision.dtype)
        read = partial(load_face_enhancer, folder, self._precision.device, self._precision.dtype)
        return Wanted(
            Key(FACE_ENHANCER, str(folder)), partial(timed, "The face enhancer", read), size, lambda _: size
        )

    def video(self, video_id: str) -> Wanted:
        folder = _find(self._settings.videos, video_id, "Video model")
        adapter = self._settings.motion_adapter
        return Wanted(
            Key(VIDEO, video_id),
            partial(load_video_model, video_id, folder, self._precision, adapter),
            expected_bytes(folder, self._precision, adapter),
            measured_bytes,
        )

    def loras(self, spec: PictureSpec) -> tuple[Lora, ...]:
        """Their weights, read now: they are attached to the model on the engine's thread."""
        files = {use.lora_id: _find(self._settings.loras, use.lora_id, "LoRA") for use in spec.loras}
        return tuple(read_lora(lora_id, file) for lora_id, file in files.items())

    def embeddings(self, spec: PictureSpec) -> tuple[Embedding, ...]:
        files = {name: _find(self._settings.embeddings, name, "Embedding") for name in spec.embeddings}
        return tuple(read_embedding(name, file) for name, file in files.items())


def _find(places: Mapping[str, Path], name: str, what: str) -> Path:
    if name not in places:
        raise GenerationFailed(f"{what} not found: {name}")
    return places[name]
