"""Bodies of the endpoints about one given picture: enlarge it, check it."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from api.wire.loose import Number, OptionalText, PictureText, Switch
from api.wire.requests.body import GivenPicture, JobBody, Needed, Order, given
from shared.jobs import CheckSpec, EnlargementSpec, Role
from shared.missing import NO_FACE_ENHANCER, NO_UPSCALER, NOTHING_TO_CHECK_WITH
from shared.settings import Settings


class EnlargingBody(JobBody):
    """What both ways to ask for a larger picture take."""

    scale: Number
    model_id: OptionalText = None
    """Id of the upscaler; by default the server's own choice."""
    face_enhance: Switch = False
    """Restore faces as well."""

    @property
    def needed(self) -> list[Needed]:
        return [Needed("Upscaler", "upscalers", (self.model_id,) if self.model_id else ())]

    def missing(self, settings: Settings) -> str | None:
        if self.face_enhance and settings.face_enhancer is None:
            return NO_FACE_ENHANCER
        return None if self.model_id or settings.upscaler_id else NO_UPSCALER

    def to_spec(self, order: Order) -> EnlargementSpec:
        return EnlargementSpec(
            **self.common(order),
            model_id=self.model_id or order.settings.upscaler_id or "",
            scale=self.scale,
            face_enhance=self.face_enhance,
        )


class SuperResolution(EnlargingBody):
    """Body of `super_resolution`."""

    spellings: ClassVar[Mapping[str, str]] = {"init_image": "url"}

    url: PictureText
    """The picture to enlarge: a public URL, or base64."""
    scale: Annotated[Number, Field(ge=1, le=4)]
    """How many times as wide and as high it is to be; 1 only cleans it."""

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        return given(init=("url", self.url))


class Enlarge(EnlargingBody):
    """Body of `super_resolution/make`, the newer form of the same."""

    init_image: PictureText
    """The picture to enlarge: a public URL, or base64."""
    scale: Annotated[Number, Field(ge=1, le=8)] = 2.0
    """How many times as wide and as high it is to be; 1 only cleans it."""

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        return given(init=("init_image", self.init_image))


class NsfwImageCheck(JobBody):
    """Body of `nsfw_image_check`."""

    init_image: PictureText
    """The picture to check: a public URL, or base64."""

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        return given(init=("init_image", self.init_image))

    def missing(self, settings: Settings) -> str | None:
        return None if settings.safety_checker else NOTHING_TO_CHECK_WITH

    def to_spec(self, order: Order) -> CheckSpec:
        return CheckSpec(**self.common(order), model_id=order.settings.safety_checker or "")
