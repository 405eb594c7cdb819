"""Bodies of the flux family: fewer fields, and defaults of its own."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from api.wire.loose import Number, PictureText, Switch, WholeNumber
from api.wire.requests.body import GivenPicture, Here, Id, Needed, Terms, given
from api.wire.requests.canvas import PicturesBody
from shared.jobs import Kind, PictureSpec, Role
from shared.missing import missing_checker
from shared.registry import ModelKind
from shared.schedulers import FLOW_SCHEDULER

FLUX = "flux"
TRUE_CFG_SCALE = 2.0


class FluxText2Img(PicturesBody):
    """Body of `flux/text2img`."""

    kind: ClassVar[Kind] = Kind.TEXT2IMG

    model_id: Id = FLUX
    """Id of the Flux model, if the server has several."""
    num_inference_steps: Annotated[WholeNumber, Field(ge=1, le=50)] = 10
    """Denoising steps."""
    guidance_scale: Annotated[Number, Field(ge=0, le=20)] = 3.5
    """How strongly the prompt is followed, by models that take it as an input."""
    true_cfg_scale: Annotated[Number, Field(ge=1, le=20)] = TRUE_CFG_SCALE
    """How strongly the picture is led away from the negative prompt; 1 ignores it."""
    safety_checker: Switch = False
    """Look for sensitive pictures and replace them."""

    def needed(self, here: Here) -> list[Needed]:  # noqa: ARG002
        return [Needed("Model", (ModelKind.CHECKPOINT,), (self.model_id,))]

    def missing(self, here: Here) -> str | None:
        return missing_checker(here.settings, here.models) if self.safety_checker else None

    def painting(self, terms: Terms) -> dict[str, Any]:
        """The fields of a `PictureSpec`."""
        return self.common(terms) | {
            "kind": self.kind,
            "true_cfg_scale": self.true_cfg_scale if self.negative_prompt else 1.0,
            "guidance_scale": self.guidance_scale,
            "scheduler": FLOW_SCHEDULER,
            "safety_checker": self.safety_checker,
            "safety_checker_type": "black",  # this family says: replaced by a blank picture
        }

    def to_spec(self, terms: Terms) -> PictureSpec:
        return PictureSpec(**self.painting(terms))


class FluxImg2Img(FluxText2Img):
    """Body of `flux/img2img`."""

    kind: ClassVar[Kind] = Kind.IMG2IMG

    init_image: PictureText
    """The picture to start from: a public URL, or base64."""
    strength: Annotated[Number, Field(ge=0, le=1)] = 0.7
    """How much of it is forgotten: 0 keeps it, 1 forgets it."""

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        return given(init=("init_image", self.init_image))

    def to_spec(self, terms: Terms) -> PictureSpec:
        return PictureSpec(**self.painting(terms), strength=self.strength)
