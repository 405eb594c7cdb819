"""Bodies of the endpoints about one given picture: enlarge it, check it."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from api.wire.loose import Number, OptionalText, PictureText, Switch
from api.wire.requests.body import GivenPicture, JobBody, Needed, Order, given
from shared.jobs import CheckSpec, Dialect, EnlargementSpec, Role
from shared.missing import NO_FACE_ENHANCER, NO_UPSCALER, NOTHING_TO_CHECK_WITH
from shared.settings import Settings

DOCUMENTED_DEFAULT = "realesr-general-x4v3"
"""The upscaler that the protocol's pages name; clients that send every field send it."""


class EnlargingBody(JobBody):
    """What both ways to ask for a larger picture take."""

    scale: Number
    model_id: OptionalText = None
    """Id of the upscaler; by default the server's own choice."""
    face_enhance: Switch = False
    """Restore faces as well."""

    @property
    def needed(self) -> list[Needed]:
        named = self.model_id is not None and self.model_id != DOCUMENTED_DEFAULT
        return [Needed("Upscaler", "upscalers", (self.model_id,) if named and self.model_id else ())]

    def missing(self, settings: Settings, dialect: Dialect) -> str | None:  # noqa: ARG002
        if self.face_enhance and settings.face_enhancer is None:
            return NO_FACE_ENHANCER
        return None if self._upscaler(settings) else NO_UPSCALER

    def to_spec(self, order: Order) -> EnlargementSpec:
        return EnlargementSpec(
            **self.common(order),
            model_id=self._upscaler(order.settings) or "",
            scale=self.scale,
            face_enhance=self.face_enhance,
        )

    def _upscaler(self, settings: Settings) -> str | None:
        """The one that is named, if it is here; who sends the documented default has no wish of its own."""
        return self.model_id if self.model_id in settings.upscalers else settings.upscaler_id


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

    def missing(self, settings: Settings, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if settings.safety_checker else NOTHING_TO_CHECK_WITH

    def to_spec(self, order: Order) -> CheckSpec:
        return CheckSpec(**self.common(order), model_id=order.settings.safety_checker or "")
