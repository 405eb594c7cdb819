"""Jobs about one given picture: enlarge it, or look whether it is sensitive."""

from typing import Annotated, Literal

from pydantic import Field

from shared.jobs.spec import JobSpec, Kind, Role

LEAST_COST = 1_000
"""What any job takes in claiming, reading and writing: as much as 16 steps of a picture of 64 px."""
PIXELS_PER_UNIT = 8
"""How many pixels an upscaler makes in the time of a work unit."""


class EnlargementSpec(JobSpec):
    """A picture, larger. `model_id` is the upscaler's."""

    kind: Literal[Kind.SUPER_RESOLUTION] = Kind.SUPER_RESOLUTION
    scale: Annotated[float, Field(ge=1, le=8)]
    face_enhance: bool = False

    @property
    def pixels(self) -> int:
        """Of the enlarged picture."""
        return round(given_pixels(self) * self.scale * self.scale)

    @property
    def cost(self) -> int:
        return LEAST_COST + self.pixels // PIXELS_PER_UNIT


class CheckSpec(JobSpec):
    """Whether the safety checker flags a picture. `model_id` is the checker's."""

    kind: Literal[Kind.NSFW_IMAGE_CHECK] = Kind.NSFW_IMAGE_CHECK

    @property
    def cost(self) -> int:
        return LEAST_COST

    @property
    def file_count(self) -> int:
        return 0


def given_pixels(spec: JobSpec) -> int:
    """Of the picture that the job is about."""
    given = spec.inputs.get(Role.INIT)
    return given.width * given.height if given else 0
