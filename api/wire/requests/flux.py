"""Bodies of the flux family: fewer fields, and defaults of its own."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationInfo, model_validator

from api.wire.loose import Number, OptionalText, PictureText, Switch, WholeNumber
from api.wire.requests.body import (
    RANDOM_SEED,
    GivenPicture,
    Id,
    JobBody,
    Needed,
    Order,
    Prompt,
    Seed,
    Side,
    check_side,
    drawn,
    given,
    limits,
)
from shared.jobs import Kind, PictureSpec, Role
from shared.missing import missing_checker
from shared.schedulers import FLOW_SCHEDULER
from shared.settings import Settings

FLUX = "flux"
TRUE_CFG_SCALE = 2.0


class FluxText2Img(JobBody):
    """Body of `flux/text2img`."""

    spellings: ClassVar[Mapping[str, str]] = {"steps": "num_inference_steps"}

    model_id: Id = FLUX
    """Id of the Flux model, if the server has several."""
    prompt: Prompt
    """What to show."""
    negative_prompt: OptionalText = None
    """What not to show: each step then calls the model twice."""
    width: Side = 512
    """Pixels, a multiple of 8, from 64 to the server's largest side (1024)."""
    height: Side = 512
    """Pixels, as the width."""
    samples: Annotated[WholeNumber, Field(ge=1, le=4)] = 1
    """Number of pictures; picture `i` is made with `seed + i`."""
    num_inference_steps: Annotated[WholeNumber, Field(ge=1, le=50)] = 10
    """Denoising steps."""
    guidance_scale: Annotated[Number, Field(ge=0, le=20)] = 3.5
    """How strongly the prompt is followed, by models that take it as an input."""
    true_cfg_scale: Annotated[Number, Field(ge=1, le=20)] = TRUE_CFG_SCALE
    """How strongly the picture is led away from the negative prompt; 1 ignores it."""
    safety_checker: Switch = False
    """Look for sensitive pictures and replace them."""
    seed: Seed = RANDOM_SEED
    """Same seed, same request: same picture. `null` or -1: random, and reported in `meta.seed`."""
    base64: Switch = False
    """The output files hold base64 text instead of PNG."""
    deterministic: Switch = False
    """Bit-identical files under any load. Not part of the original protocol."""

    @model_validator(mode="after")
    def _size_fits(self, info: ValidationInfo) -> Self:
        check_side("width", self.width, limits(info).max_side)
        check_side("height", self.height, limits(info).max_side)
        return self

    @property
    def needed(self) -> list[Needed]:
        return [Needed("Model", "models", (self.model_id,))]

    def missing(self, settings: Settings) -> str | None:
        return missing_checker(settings) if self.safety_checker else None

    def painting(self, order: Order, kind: Kind) -> dict[str, Any]:
        """The fields of a `PictureSpec`."""
        return self.common(order) | {
            "kind": kind,
            "model_id": self.model_id,
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "true_cfg_scale": self.true_cfg_scale if self.negative_prompt else 1.0,
            "width": self.width,
            "height": self.height,
            "samples": self.samples,
            "steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "scheduler": FLOW_SCHEDULER,
            "seed": drawn(self.seed),
            "safety_checker": self.safety_checker,
            "safety_checker_type": "black",  # this family says: replaced by a blank picture
            "deterministic": self.deterministic,
            "base64": self.base64,
        }

    def to_spec(self, order: Order) -> PictureSpec:
        return PictureSpec(**self.painting(order, Kind.TEXT2IMG))


class FluxImg2Img(FluxText2Img):
    """Body of `flux/img2img`."""

    init_image: PictureText
    """The picture to start from: a public URL, or base64."""
    strength: Annotated[Number, Field(ge=0, le=1)] = 0.7
    """How much of it is forgotten: 0 keeps it, 1 forgets it."""

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        return given(init=("init_image", self.init_image))

    def to_spec(self, order: Order) -> PictureSpec:
        return PictureSpec(**self.painting(order, Kind.IMG2IMG), strength=self.strength)
