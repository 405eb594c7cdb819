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
class ImagePrompt:
    """A picture as a part of the prompt, by an IP-Adapter; compared by identity."""

    scale: float
    """How strongly it acts; not 0, which is no image prompt."""
    pixels: Pixels
    """Of any size; best as the adapter's encoder crops it, for resizing would hold up the engine."""


Hint = NDArray[np.float32]
"""What a ControlNet is shown: (height, width, 3), 0 to 1, of the request's size; -1 marks what is masked."""


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet of the kit, what it is shown, and how strongly it is heard (1 is as it was trained)."""

    control_id: str
    hint: Hint
    scale: float = 1.0


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
    ip: ImagePrompt | None = None
    tomesd: bool = False
    self_attention: SelfAttention | None = None
    controls: tuple[Control, ...] = ()
    guess_mode: bool = False
    """The ControlNets alone steer, whatever the prompts: the negative one is not told of them."""
    start: Start | None = None
    panorama: bool = False
    highres_fix: bool = False
    upscale: bool = False
    safety_checker: bool = False
    deterministic: bool = False
