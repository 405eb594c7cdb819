"""What a film is to be."""

from dataclasses import dataclass

from worker.gpu.schedulers import Sampling


@dataclass(frozen=True)
class FilmRequest:
    """Width and height in pixels, multiples of 8; `fps` only says how fast the frames are to be shown."""

    prompt: str
    negative_prompt: str | None
    width: int
    height: int
    frames: int
    fps: int
    sampling: Sampling
    guidance_scale: float
    seed: int
