"""Bodies of the endpoints about one given picture: enlarge it, check it."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from api.wire.loose import Number, OptionalText, PictureText, Switch
from api.wire.requests.body import GivenPicture, Here, JobBody, Needed, Terms, given
from shared.jobs import CheckSpec, EnlargementSpec, Kind, Role
from shared.missing import NO_FACE_ENHANCER, NO_UPSCALER, NOTHING_TO_CHECK_WITH
from shared.registry import ModelKind, Snapshot

DOCUMENTED_DEFAULT = "realesr-general-x4v3"
"""The upscaler that the protocol's pages name; clients that send every field send it."""


class EnlargingBody(JobBody):
    """What both ways to ask for a larger picture take."""

    kind: ClassVar[Kind] = Kind.SUPER_RESOLUTION

    scale: Number
    model_id: OptionalText = None
    """Id of the upscaler; by default the server's own choice."""
    face_enhance: Switch = False
    """Restore faces as well."""

    def needed(self, here: Here) -> list[Needed]:
        upscaler = self._upscaler(here.models)
        return [Needed("Upscaler", (ModelKind.UPSCALER,), (upscaler,) if upscaler else ())]

    def missing(self, here: Here) -> str | None:
        if self.face_enhance and here.models.default(ModelKind.FACE) is None:
            return NO_FACE_ENHANCER
        return None if self._upscaler(here.models) else NO_UPSCALER

    def to_spec(self, terms: Terms) -> EnlargementSpec:
        return EnlargementSpec(
            **self.common(terms),
            model_id=self._upscaler(terms.here.models) or "",
            scale=self.scale,
            face_enhance=self.face_enhance,
        )

    def _upscaler(self, models: Snapshot) -> str | None:
        """The one that is named; who sends the documented default has no wish of its own."""
        has_wish = self.model_id != DOCUMENTED_DEFAULT or models.has(ModelKind.UPSCALER, DOCUMENTED_DEFAULT)
        if self.model_id and has_wish:
            return self.model_id
        default = models.default(ModelKind.UPSCALER)
        return default.model_id if default else None


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

    kind: ClassVar[Kind] = Kind.NSFW_IMAGE_CHECK

    init_image: PictureText
    """The picture to check: a public URL, or base64."""

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        return given(init=("init_image", self.init_image))

    def missing(self, here: Here) -> str | None:
        return None if here.models.default(ModelKind.SAFETY) else NOTHING_TO_CHECK_WITH

    def to_spec(self, terms: Terms) -> CheckSpec:
        return CheckSpec(**self.common(terms), model_id=_checker(terms.here.models))


def _checker(models: Snapshot) -> str:
    entry = models.default(ModelKind.SAFETY)
    return entry.model_id if entry else ""
