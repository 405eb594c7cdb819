"""The loaded things that a job's pictures are made with, borrowed from the cache for as long as it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from diffusers import AutoencoderKL

from worker.gpu.enlarging import Upscaler
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.models.adapters import Lora
from worker.gpu.models.controlnets import LoadedControlNet
from worker.gpu.models.embeddings import Embedding
from worker.gpu.models.ip_adapters import IpAdapter
from worker.gpu.models.loaded import LoadedModel


class LatentModel(Protocol):
    """A loaded model, of whichever family."""

    @property
    def model_id(self) -> str: ...

    @property
    def scale(self) -> int: ...


class VaeKit(Protocol):
    """What pixels need of a kit to become latents, and latents to become pixels."""

    @property
    def model(self) -> LatentModel: ...

    @property
    def vae(self) -> AutoencoderKL: ...

    @property
    def vae_id(self) -> str: ...


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
