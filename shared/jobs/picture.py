"""Jobs that paint pictures: from a prompt alone, from a picture, into a hole, along a ControlNet's hint."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.jobs.spec import LATENT_PIXELS, JobSpec, Kind
from shared.safety import DEFAULT_SAFETY_CHECKER_TYPE
from shared.schedulers import TWO_CALLS_A_STEP

Pixels = Annotated[int, Field(ge=8, multiple_of=8)]
PANORAMA_OVERLAP, PANORAMA_WINDOW = 8, 512
"""About how many windows of a panorama lie over a position along one side, and how high one is."""

IP_ADAPTER_SCALE = 0.6
"""How strongly an IP-Adapter acts when nobody says."""


class LoraUse(BaseModel):
    """A LoRA and how strongly it acts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora_id: str
    strength: float


class ControlUse(BaseModel):
    """A ControlNet, the type of its hint, and how strongly it acts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control_id: str
    hint_type: str
    scale: float


class HintUse(BaseModel):
    """How the ControlNets of a job are led."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    controls: tuple[ControlUse, ...]
    auto_hint: bool
    """Make the hints from the picture; otherwise the picture is the hint already."""
    guess_mode: bool = False


class IpAdapterUse(BaseModel):
    """An IP-Adapter and how strongly it acts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter_id: str
    scale: float


class PictureSpec(JobSpec):
    """One to four pictures."""

    kind: Literal[Kind.TEXT2IMG, Kind.IMG2IMG, Kind.INPAINT, Kind.CONTROLNET] = Kind.TEXT2IMG
    prompt: str
    """As the client sent it; the worker may translate and enhance it."""
    negative_prompt: str | None = None
    enhance_prompt: bool = False
    multi_lingual: bool = False
    clip_skip: Annotated[int, Field(ge=1)] = 1
    """Which layer of the text encoder is heard, from its end; 1 is the last."""
    width: Pixels
    height: Pixels
    samples: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    guidance_scale: float
    scheduler: str
    use_karras_sigmas: bool = False
    algorithm_type: str | None = None
    seed: Annotated[int, Field(ge=0)]
    """Seed of the first picture; picture `i` of the job is made with `seed + i`."""
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the schedule that is run on an init picture; 1 forgets it."""
    true_cfg_scale: float = 1.0
    """Of Flux: how strongly the picture is led away from the negative prompt; 1 is not at all."""
    hint: HintUse | None = None
    ip_adapter: IpAdapterUse | None = None
    loras: tuple[LoraUse, ...] = ()
    embeddings: tuple[str, ...] = ()
    vae: str | None = None
    tomesd: bool = False
    self_attention: bool = False
    panorama: bool = False
    highres_fix: bool = False
    upscale: bool = False
    safety_checker: bool = False
    safety_checker_type: str = DEFAULT_SAFETY_CHECKER_TYPE
    deterministic: bool = False
    """Bit-identical under any load: its forwards are never shared."""
    base64: bool = False
    """Store each picture as a text file of base64 instead of a PNG."""

    @property
    def cost(self) -> int:
        calls = self.samples * self.steps
        if self.scheduler in TWO_CALLS_A_STEP:
            calls *= 2
        if self.panorama:
            calls *= PANORAMA_OVERLAP * (1 if self.height <= PANORAMA_WINDOW else PANORAMA_OVERLAP // 2)
        elif self.highres_fix:
            calls += calls // 2
        if self.self_attention:
            calls += calls // 2
        if self.true_cfg_scale > 1:
            calls *= 2
        if self.hint:
            calls += len(self.hint.controls) * calls // 2  # a ControlNet is half a UNet
        share = self.strength if self.kind in (Kind.IMG2IMG, Kind.INPAINT) else 1.0
        return max(1, round(calls * share)) * (self.width * self.height // LATENT_PIXELS)

    @property
    def file_count(self) -> int:
        return self.samples

    @property
    def suffix(self) -> str:
        return "base64" if self.base64 else "png"
