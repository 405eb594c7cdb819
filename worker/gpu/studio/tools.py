"""What all kinds of jobs are made with, and what comes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from shared.jobs import Outcome, Role
from worker.gpu.engine import Engine, Pixels, Rendering
from worker.gpu.filming import Film
from worker.gpu.models.library import Library

Inputs = Mapping[Role, Image.Image]
"""The job's input pictures: masks in mode L, all others in RGB."""

OnBegin = Callable[[Rendering[Any]], None]
"""Gets the rendering, to watch or to cancel it."""


@dataclass(frozen=True)
class Made:
    outcome: Outcome
    pictures: Sequence[Pixels] = ()
    film: Film | None = None
    stepped_at: float | None = None
    """When its first denoising step was done, by the monotonic clock; None where none is made."""


@dataclass(frozen=True)
class Tools:
    """What the slots of one worker share."""

    library: Library
    engine: Engine
