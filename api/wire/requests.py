"""Request bodies. Unknown fields are ignored, because the protocol says so."""

import secrets
import uuid
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from api.wire.loose import (
    LONGEST_TEXT,
    AnyScalar,
    Names,
    Number,
    Numbers,
    OptionalText,
    Switch,
    WholeNumber,
)
from shared.jobs import Dialect, JobSpec, LoraUse
from shared.safety import DEFAULT_SAFETY_CHECKER_TYPE, SAFETY_CHECKER_TYPES
from shared.schedulers import ALGORITHMS, DEFAULT_SCHEDULER, SCHEDULERS
from shared.settings import Settings

LARGEST_SEED = 2**63 - 8
"""Leaves room for `seed + i` of the last picture."""
RANDOM_SEED = -1
SMALLEST_SIDE, SIDE_STEP = 64, 8
WEAKEST_LORA, STRONGEST_LORA = 0.1, 1.0


def _side(value: int) -> int:
    if value % SIDE_STEP:
        raise PydanticCustomError("sentence", f"must be divisible by {SIDE_STEP}")
    return value


def _one_of(*names: str) -> AfterValidator:
    def check(name: str | None) -> str | None:
        if name is not None and name not in names:
            raise PydanticCustomError("sentence", "must be one of {names}", {"names": ", ".join(names)})
        return name

    return AfterValidator(check)


Side = Annotated[WholeNumber, AfterValidator(_side)]
Prompt = Annotated[str, Field(max_length=LONGEST_TEXT)]


class Text2Img(BaseModel):
    """Body of `text2img`."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    model_id: Annotated[str, Field(max_length=200)]
    """Id of the model that makes the picture."""
    prompt: Prompt
    """What to show. `(word:1.3)`, `((word))` and `[word]` weigh words, BREAK begins a new part."""
    negative_prompt: OptionalText = None
    """What not to show."""
    width: Side = 512
    """Pixels, a multiple of 8, from 64 to the server's largest side (1024)."""
    height: Side = 512
    """Pixels, as the width."""
    samples: Annotated[WholeNumber, Field(ge=1, le=4)] = 1
    """Number of pictures; picture `i` is made with `seed + i`."""
    num_inference_steps: Annotated[WholeNumber, Field(ge=1, le=50)] = 21
    """Denoising steps."""
    guidance_scale: Annotated[Number, Field(ge=1, le=20)] = 7.5
    """How strongly the prompt is followed; 1 switches classifier-free guidance off."""
    seed: Annotated[WholeNumber, Field(ge=RANDOM_SEED, le=LARGEST_SEED)] = RANDOM_SEED
    """Same seed, same request: same picture. `null` or -1: random, and reported in `meta.seed`."""
    scheduler: Annotated[OptionalText, _one_of(*SCHEDULERS)] = None
    """Name of the sampler."""
    use_karras_sigmas: Switch = True
    """Noise levels as Karras et al. space them, where the scheduler can."""
    algorithm_type: Annotated[OptionalText, _one_of(*ALGORITHMS)] = None
    """Variant of DPMSolverMultistepScheduler."""
    clip_skip: Annotated[WholeNumber, Field(ge=1, le=8)] = 1
    """Which layer of the text encoder is heard, counted from its end; 1 is the last."""
    enhance_prompt: Switch = True
    """Add style words to the prompt, and what nobody wants to the negative prompt; `meta` shows both."""
    multi_lingual: Switch = False
    """Translate the prompts into English first."""
    lora_model: Names = ()
    """Ids of LoRAs, separated by commas."""
    lora_strength: Numbers = ()
    """0.1 to 1: one value for all LoRAs, or one for each, separated by commas; by default 1."""
    embeddings_model: Names = ()
    """Ids of textual inversions, separated by commas. The prompts use them by their id; one that neither
    names is put behind the prompt, or behind the negative one if its id says that it is negative."""
    vae: OptionalText = None
    """Id of the autoencoder to use instead of the model's own."""
    safety_checker: Switch = True
    """Look for sensitive pictures and cover them."""
    safety_checker_type: Annotated[OptionalText, _one_of(*SAFETY_CHECKER_TYPES)] = None
    """How a sensitive picture is covered."""
    tomesd: Switch = True
    """Merge similar positions in the model's attention: faster for large pictures."""
    self_attention: Switch = False
    """Guide the picture by the model's own attention: better structure, more time."""
    panorama: Switch = False
    """Make a wide picture from overlapping windows; the width may go to 4096."""
    highres_fix: Switch = False
    """Make the picture at the model's own size first, then enlarge and refine it."""
    upscale: Switch = False
    """Enlarge the finished picture two times."""
    base64: Switch = False
    """The output files hold base64 text instead of PNG."""
    temp: Switch = False
    """The files end after 24 hours."""
    deterministic: Switch = False
    """Bit-identical files under any load, at the price of sharing no work with other jobs. Not part of the
    original protocol."""
    instant_response: Switch = False
    """Answer `processing` at once instead of waiting for the pictures."""
    webhook: OptionalText = None
    """URL that gets a POST when the job has ended."""
    track_id: AnyScalar = None
    """Comes back in the webhook with the JSON type that it was sent with."""

    @model_validator(mode="after")
    def _lora_lists_fit(self) -> Self:
        models, strengths = self.lora_model, self.lora_strength
        if len(set(models)) < len(models):
            raise _wrong("lora_model", "names the same model twice")
        if len(strengths) not in (0, 1, len(models)) and models:
            raise _wrong(
                "lora_strength",
                f"must hold one value, or one for each of the {len(models)} models in lora_model",
            )
        if not all(WEAKEST_LORA <= strength <= STRONGEST_LORA for strength in strengths):
            raise _wrong("lora_strength", f"must be between {WEAKEST_LORA:g} and {STRONGEST_LORA:g}")
        return self

    @model_validator(mode="after")
    def _size_fits(self, info: ValidationInfo) -> Self:
        """By the server's settings, which come as the context."""
        limits = info.context or Settings()
        widest = limits.max_panorama_width if self.panorama else limits.max_side
        for name, value, largest in (("width", self.width, widest), ("height", self.height, limits.max_side)):
            if not SMALLEST_SIDE <= value <= largest:
                raise _wrong(name, f"must be between {SMALLEST_SIDE} and {largest}")
        return self

    def to_spec(self, public_url: str, dialect: Dialect = Dialect.ENTERPRISE) -> JobSpec:
        """The job to accept; draws the seed if the client left it open."""
        return JobSpec(
            dialect=dialect,
            model_id=self.model_id,
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            enhance_prompt=self.enhance_prompt,
            multi_lingual=self.multi_lingual,
            clip_skip=self.clip_skip,
            width=self.width,
            height=self.height,
            samples=self.samples,
            steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler or DEFAULT_SCHEDULER,
            use_karras_sigmas=self.use_karras_sigmas,
            algorithm_type=ALGORITHMS[self.algorithm_type] if self.algorithm_type else None,
            seed=secrets.randbelow(2**32) if self.seed == RANDOM_SEED else self.seed,
            loras=self._loras(),
            embeddings=self.embeddings_model,
            vae=self.vae,
            tomesd=self.tomesd,
            self_attention=self.self_attention,
            panorama=self.panorama,
            highres_fix=self.highres_fix,
            upscale=self.upscale,
            safety_checker=self.safety_checker,
            safety_checker_type=self.safety_checker_type or DEFAULT_SAFETY_CHECKER_TYPE,
            deterministic=self.deterministic,
            base64=self.base64,
            temp=self.temp,
            instant_response=self.instant_response,
            file_prefix=str(uuid.uuid4()),
            public_url=public_url,
            webhook=self.webhook,
            track_id=self.track_id,
        )

    def _loras(self) -> tuple[LoraUse, ...]:
        strengths = self.lora_strength or (STRONGEST_LORA,)
        if len(strengths) < len(self.lora_model):
            strengths = strengths * len(self.lora_model)
        uses = zip(self.lora_model, strengths, strict=False)
        return tuple(LoraUse(lora_id=lora_id, strength=strength) for lora_id, strength in uses)


def _wrong(field: str, words: str) -> PydanticCustomError:
    return PydanticCustomError("of_field", "{field} {words}", {"field": field, "words": words})


class RequestId(BaseModel):
    """A job's id as clients send it: in the body or in the path, as a number or a string of digits."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    request_id: Annotated[WholeNumber, Field(ge=0, le=2**53)]
