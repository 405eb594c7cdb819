"""The loaded things that a job's pictures are made with, borrowed from the cache for as long as it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from diffusers import AutoencoderKL

from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.finishing.upscale import Upscaler
from worker.gpu.models.adapters import Lora
from worker.gpu.models.controlnets import LoadedControlNet
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
    controlnets: Mapping[str, LoadedControlNet] = field(default_factory=dict)
    """By their ids; they fit the model."""
    checker: SafetyChecker | None = None
    upscaler: Upscaler | None = None

    @classmethod
    def plain(cls, model: LoadedModel) -> "Kit":
        """The model and nothing else."""
        return cls(model=model, vae=model.vae)
