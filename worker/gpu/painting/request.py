"""Everything that determines one picture, besides the models in its kit."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shared.jobs import LoraUse
from worker.gpu.engine import Pixels
from worker.gpu.schedulers import Sampling


class SelfAttention(StrEnum):
    """The two ways to guide a picture by the model's own attention."""

    SAG = "SAG"
    """Self-attention guidance: away from a picture whose most attended places are blurred."""
    PAG = "PAG"
    """Perturbed-attention guidance: away from a prediction without self-attention."""


@dataclass(frozen=True, eq=False)
class Start:
    """The picture that a picture starts from instead of noise, of the request's size already."""

    pixels: Pixels
    strength: float = 0.7
    """0 to 1: how much of the schedule is run, from the end; 0 leaves the picture as it is."""
    mask: NDArray[np.uint8] | None = None
    """(height, width): 255 where to paint, 0 for what is kept; without it, all may change."""


@dataclass(frozen=True)
class PictureRequest:
    prompt: str
    negative_prompt: str | None
    """None and "" differ: some models (SDXL) take zeros for no negative prompt."""
    width: int
    height: int
    sampling: Sampling
    guidance_scale: float
    seed: int
    clip_skip: int = 1
    loras: tuple[LoraUse, ...] = ()
    tomesd: bool = False
    self_attention: SelfAttention | None = None
    start: Start | None = None
    panorama: bool = False
    highres_fix: bool = False
    upscale: bool = False
    safety_checker: bool = False
    deterministic: bool = False
