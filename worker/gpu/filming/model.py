"""What a family of video models has to offer, so that one program films with any of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from diffusers import DiffusionPipeline
from torch import nn

from worker.gpu.filming.request import FilmRequest
from worker.gpu.schedulers import Ran, Sampling


@dataclass(frozen=True)
class Canvas:
    """What a family really makes: at least as large and as long as the film that is cut out of it."""

    width: int
    height: int
    frames: int


class VideoModel(Protocol):
    """A loaded video model; its weights are shared by all films."""

    @property
    def video_id(self) -> str: ...

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that takes memory on the device."""

    @property
    def call_options(self) -> Mapping[str, Any]:
        """What its pipeline is called with besides."""

    def what_runs(self, sampling: Sampling) -> Ran:
        """The scheduler that a film with this sampling gets. Raises `ValueError` for one that is unknown."""

    def canvas(self, request: FilmRequest) -> Canvas:
        """Raises `GenerationFailed` for a film that this model can't make."""

    def pipeline(self, sampling: Sampling) -> DiffusionPipeline:
        """A pipeline for one film: its own scheduler and call state, over the shared weights. All families'
        are called with the same arguments."""
