"""Jobs about one given picture: enlarge it, or look whether it is sensitive."""

from typing import Annotated, Literal

from pydantic import Field

from shared.jobs.spec import LATENT_PIXELS, JobSpec, Kind

TYPICAL_PIXELS = 512 * 512
"""How large a given picture is taken to be where only the worker knows."""


class EnlargementSpec(JobSpec):
    """A picture, larger. `model_id` is the upscaler's."""

    kind: Literal[Kind.SUPER_RESOLUTION] = Kind.SUPER_RESOLUTION
    scale: Annotated[float, Field(ge=1, le=8)]
    face_enhance: bool = False

    @property
    def cost(self) -> int:
        return int(self.scale * self.scale * TYPICAL_PIXELS / LATENT_PIXELS)


class CheckSpec(JobSpec):
    """Whether the safety checker flags a picture. `model_id` is the checker's."""

    kind: Literal[Kind.NSFW_IMAGE_CHECK] = Kind.NSFW_IMAGE_CHECK

    @property
    def cost(self) -> int:
        return TYPICAL_PIXELS // LATENT_PIXELS

    @property
    def file_count(self) -> int:
        return 0
