"""What every body has that asks for something to be painted: words, a size, a seed, files."""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from api.wire.loose import LONGEST_TEXT, OptionalText, Switch, WholeNumber
from api.wire.requests.body import Id, JobBody, Terms, limits, wrong

LARGEST_SEED = 2**63 - 8
"""Leaves room for `seed + i` of the last picture."""
RANDOM_SEED = -1
SMALLEST_SIDE, SIDE_STEP = 64, 8


def drawn(seed: int) -> int:
    """The seed, or a random one for "random"."""
    return secrets.randbelow(2**32) if seed == RANDOM_SEED else seed


def _multiple_of_the_step(value: int) -> int:
    if value % SIDE_STEP:
        raise PydanticCustomError("sentence", f"must be divisible by {SIDE_STEP}")
    return value


Side = Annotated[WholeNumber, AfterValidator(_multiple_of_the_step)]
Prompt = Annotated[str, Field(max_length=LONGEST_TEXT)]
Seed = Annotated[WholeNumber, Field(ge=RANDOM_SEED, le=LARGEST_SEED)]


class CanvasBody(JobBody):
    """Of pictures and of videos."""

    spellings: ClassVar[Mapping[str, str]] = {"steps": "num_inference_steps"}

    model_id: Id
    """Id of the model that paints."""
    prompt: Prompt
    """What to show. `(word:1.3)`, `((word))` and `[word]` weigh words, BREAK begins a new part."""
    negative_prompt: OptionalText = None
    """What not to show."""
    width: Side = 512
    """Pixels, a multiple of 8, from 64 to the server's largest side (1024)."""
    height: Side = 512
    """Pixels, as the width."""
    num_inference_steps: Annotated[WholeNumber, Field(ge=1, le=50)] = 21
    """Denoising steps."""
    seed: Seed = RANDOM_SEED
    """Same seed, same request: same result. `null` or -1: random, and the answer tells the one used."""

    @model_validator(mode="after")
    def _size_fits(self, info: ValidationInfo) -> Self:
        for name, value, largest in (
            ("width", self.width, self._widest(info)),
            ("height", self.height, limits(info).max_side),
        ):
            if not SMALLEST_SIDE <= value <= largest:
                raise wrong(name, f"must be between {SMALLEST_SIDE} and {largest}")
        return self

    def _widest(self, info: ValidationInfo) -> int:
        return limits(info).max_side

    def common(self, terms: Terms) -> dict[str, Any]:
        return super().common(terms) | {
            "model_id": self.model_id,
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "width": self.width,
            "height": self.height,
            "steps": self.num_inference_steps,
            "seed": drawn(self.seed),
        }


class PicturesBody(CanvasBody):
    """Of one to four pictures."""

    samples: Annotated[WholeNumber, Field(ge=1, le=4)] = 1
    """Number of pictures; picture `i` is made with `seed + i`."""
    base64: Switch = False
    """The output files hold base64 text instead of PNG."""
    deterministic: Switch = False
    """Bit-identical files under any load, at the price of sharing no work with other jobs. Not part of the
    original protocol."""

    def common(self, terms: Terms) -> dict[str, Any]:
        return super().common(terms) | {
            "samples": self.samples,
            "base64": self.base64,
            "deterministic": self.deterministic,
        }
