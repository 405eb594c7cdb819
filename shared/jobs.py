"""The job: one accepted request for up to four pictures, and what became of it.

Knows nothing of HTTP (see api/wire) nor of diffusion (see worker/gpu).
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from shared.safety import DEFAULT_SAFETY_CHECKER_TYPE
from shared.schedulers import TWO_CALLS_A_STEP

Scalar = StrictStr | StrictBool | StrictInt | StrictFloat | None
"""A JSON scalar that keeps its JSON type on the way in and out."""

Pixels = Annotated[int, Field(ge=8, multiple_of=8)]
LATENT_PIXELS = 64
"""Pixels behind one position of the latent picture (8 x 8)."""
PANORAMA_OVERLAP, PANORAMA_WINDOW = 8, 512
"""About how many windows of a panorama lie over a position along one side, and how high one is."""
TEMP_FOLDER = "temp/"


class JobState(StrEnum):
    """`queued → running → succeeded | failed | cancelled`; a terminal state never changes."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


class LoraUse(BaseModel):
    """A LoRA and how strongly it acts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora_id: str
    strength: float


class Dialect(StrEnum):
    """Which generation of the protocol the request came by: it decides names in `meta` and of files."""

    ENTERPRISE = "enterprise"
    V6 = "v6"


class JobSpec(BaseModel):
    """What to make. Complete when accepted: the seed is drawn by the gateway, so a retry repeats it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dialect: Dialect = Dialect.ENTERPRISE
    model_id: str
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
    temp: bool = False
    """The files end after `temp_life_s`."""
    instant_response: bool = False
    file_prefix: str
    """Unguessable and unique; names the files and, as the delivery's id, the webhook."""
    public_url: str
    """Scheme and host under which the client reached us, without a trailing slash."""
    webhook: str | None = None
    track_id: Scalar = None

    @property
    def cost(self) -> int:
        """Work units: one denoising step of one latent position costs about one."""
        calls = self.samples * self.steps
        if self.scheduler in TWO_CALLS_A_STEP:
            calls *= 2
        if self.panorama:
            calls *= PANORAMA_OVERLAP * (1 if self.height <= PANORAMA_WINDOW else PANORAMA_OVERLAP // 2)
        elif self.highres_fix:
            calls += calls // 2
        if self.self_attention:
            calls += calls // 2
        return calls * (self.width * self.height // LATENT_PIXELS)

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files in storage, known before they exist."""
        suffix = "base64" if self.base64 else "png"
        folder = TEMP_FOLDER if self.temp else ""
        if self.dialect is Dialect.V6:
            return tuple(f"{folder}{i}-{self.file_prefix}.{suffix}" for i in range(self.samples))
        return tuple(f"{folder}{self.file_prefix}-{i}.{suffix}" for i in range(self.samples))

    @property
    def file_urls(self) -> list[str]:
        return [f"{self.public_url}/generations/{name}" for name in self.file_names]


class Outcome(BaseModel):
    """How a job ended: what was made, or why nothing was."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    generation_time_s: float = 0.0
    """From the claim to the last picture."""
    revision: str = ""
    """Precision of the weights that ran: fp32, fp16 or bf16."""
    reason: str = ""
    """Why it failed or was cancelled, for the client; empty when it succeeded."""
    ran: dict[str, Scalar] = {}
    """What really ran, by the names of `meta`, where that is only known after the work."""
    nsfw: bool | None = None
    """Whether any picture was found sensitive; None if nothing was checked."""
    tip: str = ""
    """What the client should know about how the job was done."""


class Job(BaseModel):
    """A job as the ledger knows it at one moment."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: int
    tenant: str
    state: JobState
    spec: JobSpec
    attempts: int = 0
    progress: float = 0.0
    """Denoising steps done, 0 to 1."""
    outcome: Outcome | None = None
    eta_s: float = 0.0
    """Predicted seconds until it is done."""
