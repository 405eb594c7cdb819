"""Request bodies. Unknown fields are ignored, because the protocol says so."""

import secrets
import uuid
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from api.wire.loose import LONGEST_TEXT, AnyScalar, Number, OptionalText, Switch, WholeNumber
from shared.jobs import JobSpec
from shared.schedulers import DEFAULT_SCHEDULER, SCHEDULERS

LARGEST_SEED = 2**63 - 8
"""Leaves room for `seed + i` of the last picture."""
RANDOM_SEED = -1

Side = Annotated[WholeNumber, Field(ge=64, le=1024, multiple_of=8)]
Prompt = Annotated[str, Field(max_length=LONGEST_TEXT)]


def _known_scheduler(name: str | None) -> str | None:
    if name is not None and name not in SCHEDULERS:
        raise PydanticCustomError("sentence", "must be one of {names}", {"names": ", ".join(SCHEDULERS)})
    return name


class Text2Img(BaseModel):
    """Body of `text2img`."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    model_id: Annotated[str, Field(max_length=200)]
    """Id of the model that makes the picture."""
    prompt: Prompt
    """What to show."""
    negative_prompt: OptionalText = None
    """What not to show."""
    width: Side = 512
    """Pixels, a multiple of 8."""
    height: Side = 512
    """Pixels, a multiple of 8."""
    samples: Annotated[WholeNumber, Field(ge=1, le=4)] = 1
    """Number of pictures; picture `i` is made with `seed + i`."""
    num_inference_steps: Annotated[WholeNumber, Field(ge=1, le=50)] = 21
    """Denoising steps."""
    guidance_scale: Annotated[Number, Field(ge=1, le=20)] = 7.5
    """How strongly the prompt is followed; 1 switches classifier-free guidance off."""
    seed: Annotated[WholeNumber, Field(ge=RANDOM_SEED, le=LARGEST_SEED)] = RANDOM_SEED
    """Same seed, same request: same picture. `null` or -1: random, and reported in `meta.seed`."""
    scheduler: Annotated[OptionalText, AfterValidator(_known_scheduler)] = None
    """Name of the sampler."""
    base64: Switch = False
    """The output files hold base64 text instead of PNG."""
    instant_response: Switch = False
    """Answer `processing` at once instead of waiting for the pictures."""
    webhook: OptionalText = None
    """URL that gets a POST when the job has ended."""
    track_id: AnyScalar = None
    """Comes back in the webhook with the JSON type that it was sent with."""

    def to_spec(self, public_url: str) -> JobSpec:
        """The job to accept; draws the seed if the client left it open."""
        return JobSpec(
            model_id=self.model_id,
            prompt=self.prompt,
            negative_prompt=self.negative_prompt or "",
            width=self.width,
            height=self.height,
            samples=self.samples,
            steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler or DEFAULT_SCHEDULER,
            seed=secrets.randbelow(2**32) if self.seed == RANDOM_SEED else self.seed,
            base64=self.base64,
            file_prefix=str(uuid.uuid4()),
            public_url=public_url,
            webhook=self.webhook,
            track_id=self.track_id,
        )


class RequestId(BaseModel):
    """A job's id as clients send it: in the body or in the path, as a number or a string of digits."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    request_id: Annotated[WholeNumber, Field(ge=0, le=2**53)]
