"""The loaded things that a job's pictures are made with, borrowed from the cache for as long as it runs."""

from collections.abc import Hashable
from dataclasses import dataclass

from diffusers import AutoencoderKL

from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.finishing.upscale import Upscaler
from worker.gpu.models.adapters import Lora
from worker.gpu.models.embeddings import Embedding
from worker.gpu.models.ip_adapters import IpAdapter
from worker.gpu.models.loaded import LoadedModel


@dataclass(frozen=True)
class Kit:
    model: LoadedModel
    vae: AutoencoderKL
    """The model's own, or the one that the job names."""
    vae_id: str = ""
    loras: tuple[Lora, ...] = ()
    embeddings: tuple[Embedding, ...] = ()
    ip_adapter: IpAdapter | None = None
    checker: SafetyChecker | None = None
    upscaler: Upscaler | None = None

    @property
    def vae_name(self) -> Hashable:
        return (self.model.model_id, self.vae_id)

    @classmethod
    def plain(cls, model: LoadedModel) -> "Kit":
        """The model and nothing else."""
        return cls(model=model, vae=model.vae)
