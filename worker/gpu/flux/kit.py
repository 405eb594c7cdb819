"""The loaded things that a job's Flux pictures are made with, borrowed for as long as it runs."""

from dataclasses import dataclass

from diffusers import AutoencoderKL

from worker.gpu.enlarging import Upscaler
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.flux.loaded import LoadedFlux
from worker.gpu.models.adapters import Lora


@dataclass(frozen=True)
class FluxKit:
    model: LoadedFlux
    loras: tuple[Lora, ...] = ()
    checker: SafetyChecker | None = None
    upscaler: Upscaler | None = None

    @property
    def vae(self) -> AutoencoderKL:
        return self.model.vae

    @property
    def vae_id(self) -> str:
        """None but the model's own."""
        return ""
