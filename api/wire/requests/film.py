"""Body of the endpoint that makes videos."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, ValidationInfo, model_validator

from api.wire.loose import Number, OptionalText, Switch, WholeNumber
from api.wire.requests.body import Here, Needed, Terms, limits, one_of, wrong
from api.wire.requests.canvas import CanvasBody
from shared.jobs import FilmSpec, Kind
from shared.registry import ModelKind
from shared.schedulers import DEFAULT_SCHEDULER, SCHEDULERS


class Text2Video(CanvasBody):
    """Body of `text2video`."""

    kind: ClassVar[Kind] = Kind.TEXT2VIDEO

    num_frames: Annotated[WholeNumber, Field(ge=1)] = 16
    """Pictures in the video, up to the server's limit (64)."""
    fps: Annotated[WholeNumber, Field(ge=1, le=60)] = 8
    """Pictures per second."""
    scheduler: Annotated[OptionalText, one_of(*SCHEDULERS)] = None
    """Name of the sampler."""
    use_karras_sigmas: Switch = False
    """Noise levels as Karras et al. space them, where the scheduler can."""
    enhance_prompt: Switch = True
    """Add style words to the prompt."""
    guidance_scale: Annotated[Number, Field(ge=1, le=20)] = 7.5
    """How strongly the prompt is followed."""

    @model_validator(mode="after")
    def _length_fits(self, info: ValidationInfo) -> Self:
        if self.num_frames > limits(info).max_frames:
            raise wrong("num_frames", f"must be between 1 and {limits(info).max_frames}")
        most = limits(info).max_film_pixels // (self.width * self.height)
        if self.num_frames > most:
            raise wrong("num_frames", f"must be at most {most} at this size: send fewer, or a smaller size")
        return self

    def needed(self, here: Here) -> list[Needed]:  # noqa: ARG002
        return [Needed("Video model", (ModelKind.VIDEO, ModelKind.CHECKPOINT), (self.model_id,))]

    def to_spec(self, terms: Terms) -> FilmSpec:
        return FilmSpec(
            **self.common(terms),
            enhance_prompt=self.enhance_prompt,
            frames=self.num_frames,
            fps=self.fps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler or DEFAULT_SCHEDULER,
            use_karras_sigmas=self.use_karras_sigmas,
        )
