"""Body of the endpoint that leads pictures by ControlNets."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from api.wire.loose import Names, Number, Numbers, OptionalPictureText, Switch
from api.wire.requests.body import GivenPicture, Here, Needed, Terms, given, wrong
from api.wire.requests.painting import PaintingBody
from shared.hints import HINT_TYPES, can_make, no_tool
from shared.jobs import ControlUse, Dialect, HintUse, Kind, PictureSpec, Role
from shared.registry import ModelKind

STRONGEST_CONTROL = 20.0
INPAINT = "inpaint"


class ControlNet(PaintingBody):
    """Body of `controlnet`."""

    kind: ClassVar[Kind] = Kind.CONTROLNET

    spellings: ClassVar[Mapping[str, str]] = {**PaintingBody.spellings, "type": "controlnet_type"}

    controlnet_model: Annotated[Names, Field(min_length=1)]
    """Ids of ControlNets, separated by commas."""
    controlnet_type: Names = ()
    """What their hints show, separated by commas; by default the ids are the types."""
    controlnet_conditioning_scale: Numbers = ()
    """0 to 20: one value for all ControlNets, or one for each, separated by commas; by default 1."""
    auto_hint: Switch | None = None
    """Make the hint from the picture, by the type; otherwise the picture is the hint. By default no here, and
    yes on the routes of versions 5 and 6."""
    guess_mode: Switch = False
    """Follow the hint even where the prompt says nothing."""
    init_image: OptionalPictureText = None
    """The picture that the hint is made from; with a control_image, or a mask_image, the picture to start
    from. A public URL, or base64."""
    control_image: OptionalPictureText = None
    """The picture that the hint is made from."""
    mask_image: OptionalPictureText = None
    """White where init_image is to be painted anew."""
    strength: Annotated[Number, Field(ge=0, le=1)] = 0.7
    """How much of the picture to start from is forgotten."""

    @model_validator(mode="after")
    def _lists_fit(self) -> Self:
        count = len(self.controlnet_model)
        for field in ("controlnet_type", "controlnet_conditioning_scale"):
            if len(getattr(self, field)) not in (0, 1, count):
                raise wrong(field, f"must hold one value, or one for each of the {count} in controlnet_model")
        if len(set(self.controlnet_model)) < count:
            raise wrong("controlnet_model", "names the same model twice")
        if not all(0 <= scale <= STRONGEST_CONTROL for scale in self.controlnet_conditioning_scale):
            raise wrong("controlnet_conditioning_scale", f"must be between 0 and {STRONGEST_CONTROL:g}")
        return self

    @model_validator(mode="after")
    def _pictures_fit(self) -> Self:
        if not (self.init_image or self.control_image):
            raise wrong("init_image", "is required, or control_image: send a URL or base64")
        if INPAINT in (self.controlnet_type or self.controlnet_model) and not self.mask_image:
            raise wrong("mask_image", "is required with controlnet_type inpaint: white where to paint")
        if self.mask_image and not self.init_image:
            raise wrong("init_image", "is required with mask_image")
        return self

    @model_validator(mode="after")
    def _types_are_known(self) -> Self:
        """An id that is no type can be named without one as long as no hint is to be made."""
        types = self.controlnet_type or (self.controlnet_model if self.auto_hint else ())
        if any(name not in HINT_TYPES for name in types):
            raise wrong("controlnet_type", f"must be of {', '.join(HINT_TYPES)}")
        return self

    def missing(self, here: Here) -> str | None:
        made = [use.hint_type for use in self._controls()] if self._makes_hints(here.dialect) else []
        lacking = next((kind for kind in made if not can_make(kind, here.models)), None)
        return no_tool(lacking) if lacking else super().missing(here)

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        return given(
            init=("init_image", self.init_image),
            control=("control_image", self.control_image),
            mask=("mask_image", self.mask_image),
        )

    def needed(self, here: Here) -> list[Needed]:
        return [*super().needed(here), Needed("ControlNet", (ModelKind.CONTROLNET,), self.controlnet_model)]

    def to_spec(self, terms: Terms) -> PictureSpec:
        painting = self.painting(terms)
        hint = HintUse(
            controls=self._controls(),
            auto_hint=self._makes_hints(terms.here.dialect),
            guess_mode=self.guess_mode,
        )
        return PictureSpec(**painting, strength=self.strength, hint=hint)

    def _makes_hints(self, dialect: Dialect) -> bool:
        """Of ids that are no types nobody knows what their hints show."""
        if self.auto_hint is not None:
            return self.auto_hint
        return dialect is Dialect.V6 and all(use.hint_type in HINT_TYPES for use in self._controls())

    def _controls(self) -> tuple[ControlUse, ...]:
        count = len(self.controlnet_model)
        types = self.controlnet_type * (count if len(self.controlnet_type) == 1 else 1)
        scales = (self.controlnet_conditioning_scale or (1.0,)) * count
        return tuple(
            ControlUse(control_id=control_id, hint_type=hint_type, scale=scale)
            for control_id, hint_type, scale in zip(
                self.controlnet_model, types or self.controlnet_model, scales, strict=False
            )
        )
