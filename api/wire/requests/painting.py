"""Bodies of the endpoints that paint pictures: text2img, img2img, inpaint."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationInfo, model_validator

from api.wire.loose import (
    Names,
    Number,
    Numbers,
    OptionalPictureText,
    OptionalText,
    PictureText,
    Switch,
    WholeNumber,
)
from api.wire.requests.body import GivenPicture, Here, Needed, Terms, given, limits, one_of, wrong
from api.wire.requests.canvas import PicturesBody
from shared.ip_adapters import IP_ADAPTERS
from shared.jobs import IP_ADAPTER_SCALE, IpAdapterUse, Kind, LoraUse, PictureSpec, Role
from shared.missing import NO_TRANSLATOR, missing_checker
from shared.registry import ModelKind
from shared.safety import DEFAULT_SAFETY_CHECKER_TYPE, SAFETY_CHECKER_TYPES
from shared.schedulers import ALGORITHMS, DEFAULT_SCHEDULER, SCHEDULERS

WEAKEST_LORA, STRONGEST_LORA = 0.1, 1.0


class PaintingBody(PicturesBody):
    """What all of them take."""

    guidance_scale: Annotated[Number, Field(ge=1, le=20)] = 7.5
    """How strongly the prompt is followed; 1 switches classifier-free guidance off."""
    scheduler: Annotated[OptionalText, one_of(*SCHEDULERS)] = None
    """Name of the sampler."""
    use_karras_sigmas: Switch = True
    """Noise levels as Karras et al. space them, where the scheduler can."""
    algorithm_type: Annotated[OptionalText, one_of(*ALGORITHMS)] = None
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
    safety_checker_type: Annotated[OptionalText, one_of(*SAFETY_CHECKER_TYPES)] = None
    """How a sensitive picture is covered."""
    tomesd: Switch = True
    """Merge similar positions in the model's attention: faster for large pictures."""
    upscale: Switch = False
    """Enlarge the finished picture two times."""

    @model_validator(mode="after")
    def _lora_lists_fit(self) -> Self:
        models, strengths = self.lora_model, self.lora_strength
        if len(set(models)) < len(models):
            raise wrong("lora_model", "names the same model twice")
        if len(strengths) not in (0, 1, len(models)) and models:
            raise wrong(
                "lora_strength",
                f"must hold one value, or one for each of the {len(models)} models in lora_model",
            )
        if not all(WEAKEST_LORA <= strength <= STRONGEST_LORA for strength in strengths):
            raise wrong("lora_strength", f"must be between {WEAKEST_LORA:g} and {STRONGEST_LORA:g}")
        return self

    def needed(self, here: Here) -> list[Needed]:  # noqa: ARG002
        return [
            Needed("Model", (ModelKind.CHECKPOINT,), (self.model_id,)),
            Needed("LoRA", (ModelKind.LORA,), self.lora_model),
            Needed("Embedding", (ModelKind.EMBEDDING,), self.embeddings_model),
            Needed("VAE", (ModelKind.VAE,), (self.vae,) if self.vae else ()),
        ]

    def missing(self, here: Here) -> str | None:
        if self.multi_lingual and here.models.default(ModelKind.TRANSLATOR) is None:
            return NO_TRANSLATOR
        return missing_checker(here.settings, here.models) if self.safety_checker else None

    def painting(self, terms: Terms) -> dict[str, Any]:
        """The fields of a `PictureSpec` that all of these bodies give."""
        return self.common(terms) | {
            "kind": self.kind,
            "enhance_prompt": self.enhance_prompt,
            "multi_lingual": self.multi_lingual,
            "clip_skip": self.clip_skip,
            "guidance_scale": self.guidance_scale,
            "scheduler": self.scheduler or DEFAULT_SCHEDULER,
            "use_karras_sigmas": self.use_karras_sigmas,
            "algorithm_type": ALGORITHMS[self.algorithm_type] if self.algorithm_type else None,
            "loras": self._loras(),
            "embeddings": self.embeddings_model,
            "vae": self.vae,
            "tomesd": self.tomesd,
            "upscale": self.upscale,
            "safety_checker": self.safety_checker,
            "safety_checker_type": self.safety_checker_type or DEFAULT_SAFETY_CHECKER_TYPE,
        }

    def _loras(self) -> tuple[LoraUse, ...]:
        strengths = self.lora_strength or (STRONGEST_LORA,)
        if len(strengths) < len(self.lora_model):
            strengths = strengths * len(self.lora_model)
        uses = zip(self.lora_model, strengths, strict=False)
        return tuple(LoraUse(lora_id=lora_id, strength=strength) for lora_id, strength in uses)


class Text2Img(PaintingBody):
    """Body of `text2img`."""

    kind: ClassVar[Kind] = Kind.TEXT2IMG

    self_attention: Switch = False
    """Guide the picture by the model's own attention: better structure, more time."""
    panorama: Switch = False
    """Make a wide picture from overlapping windows; the width may go to 4096."""
    highres_fix: Switch = False
    """Make the picture at the model's own size first, then enlarge and refine it."""

    def _widest(self, info: ValidationInfo) -> int:
        return limits(info).max_panorama_width if self.panorama else limits(info).max_side

    def to_spec(self, terms: Terms) -> PictureSpec:
        return PictureSpec(
            **self.painting(terms),
            self_attention=self.self_attention,
            panorama=self.panorama,
            highres_fix=self.highres_fix,
        )


class StartingBody(PaintingBody):
    """What all of them take that start from a picture."""

    init_image: PictureText
    """The picture to start from: a public URL, or base64. It is scaled and cropped to the size asked for."""
    strength: Annotated[Number, Field(ge=0, le=1)] = 0.7
    """How much of it is forgotten: 0 keeps it, 1 forgets it."""
    ip_adapter_id: Annotated[OptionalText, one_of(*IP_ADAPTERS)] = None
    """Id of the IP-Adapter that makes `ip_adapter_image` part of the prompt."""
    ip_adapter_scale: Annotated[Number, Field(ge=0, le=1)] = IP_ADAPTER_SCALE
    """How strongly; 0 is not at all."""
    ip_adapter_image: OptionalPictureText = None
    """A picture to be inspired by: a public URL, or base64."""

    @model_validator(mode="after")
    def _ip_adapter_is_whole(self) -> Self:
        if self.ip_adapter_id and not self.ip_adapter_image:
            raise wrong("ip_adapter_image", "is required with ip_adapter_id: send a URL or base64")
        if self.ip_adapter_image and not self.ip_adapter_id:
            raise wrong("ip_adapter_id", "is required with ip_adapter_image")
        return self

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        return given(
            init=("init_image", self.init_image), ip_adapter=("ip_adapter_image", self.ip_adapter_image)
        )

    def needed(self, here: Here) -> list[Needed]:
        adapters = (self.ip_adapter_id,) if self.ip_adapter_id else ()
        return [*super().needed(here), Needed("IP-Adapter", (ModelKind.IP_ADAPTER,), adapters)]

    def painting(self, terms: Terms) -> dict[str, Any]:
        adapter = None
        if self.ip_adapter_id:
            adapter = IpAdapterUse(adapter_id=self.ip_adapter_id, scale=self.ip_adapter_scale)
        return super().painting(terms) | {"strength": self.strength, "ip_adapter": adapter}


class Img2Img(StartingBody):
    """Body of `img2img`."""

    kind: ClassVar[Kind] = Kind.IMG2IMG

    def to_spec(self, terms: Terms) -> PictureSpec:
        return PictureSpec(**self.painting(terms))


class Inpaint(StartingBody):
    """Body of `inpaint`."""

    kind: ClassVar[Kind] = Kind.INPAINT

    mask_image: PictureText
    """White where the picture is to be painted anew, black where it stays: a public URL, or base64."""

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        return super().pictures | given(mask=("mask_image", self.mask_image))

    def to_spec(self, terms: Terms) -> PictureSpec:
        return PictureSpec(**self.painting(terms))
