"""Jobs that make videos."""

from typing import Annotated, Literal

from pydantic import Field

from shared.jobs.picture import Pixels
from shared.jobs.spec import LATENT_PIXELS, JobSpec, Kind


class FilmSpec(JobSpec):
    """One video."""

    kind: Literal[Kind.TEXT2VIDEO] = Kind.TEXT2VIDEO
    prompt: str
    negative_prompt: str | None = None
    enhance_prompt: bool = False
    width: Pixels
    height: Pixels
    frames: Annotated[int, Field(ge=1)]
    fps: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    guidance_scale: float
    scheduler: str
    use_karras_sigmas: bool = False
    seed: Annotated[int, Field(ge=0)]

    @property
    def cost(self) -> int:
        return self.steps * self.frames * (self.width * self.height // LATENT_PIXELS)

    @property
    def suffix(self) -> str:
        return "mp4"
