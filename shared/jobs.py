"""The job: one accepted request for up to four pictures, and what became of it.

Knows nothing of HTTP (see api/wire) nor of diffusion (see worker/gpu).
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

Scalar = StrictStr | StrictBool | StrictInt | StrictFloat | None
"""A JSON scalar that keeps its JSON type on the way in and out."""

Pixels = Annotated[int, Field(ge=8, multiple_of=8)]
LATENT_PIXELS = 64
"""Pixels behind one position of the latent picture (8 x 8)."""


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


class JobSpec(BaseModel):
    """What to make. Complete when accepted: the seed is drawn by the gateway, so a retry repeats it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model_id: str
    prompt: str
    negative_prompt: str = ""
    width: Pixels
    height: Pixels
    samples: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    guidance_scale: float
    scheduler: str
    seed: Annotated[int, Field(ge=0)]
    """Seed of the first picture; picture `i` of the job is made with `seed + i`."""
    base64: bool = False
    """Store each picture as a text file of base64 instead of a PNG."""
    file_prefix: str
    """Unguessable and unique; names the files and, as the delivery's id, the webhook."""
    public_url: str
    """Scheme and host under which the client reached us, without a trailing slash."""
    webhook: str | None = None
    track_id: Scalar = None

    @property
    def cost(self) -> int:
        """Work units: one denoising step of one latent position costs one."""
        return self.samples * self.steps * (self.width * self.height // LATENT_PIXELS)

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files in storage, known before they exist."""
        suffix = "base64" if self.base64 else "png"
        return tuple(f"{self.file_prefix}-{i}.{suffix}" for i in range(self.samples))

    @property
    def file_urls(self) -> list[str]:
        return [f"{self.public_url}/generations/{name}" for name in self.file_names]


class Outcome(BaseModel):
    """How a job ended: what was made, or why nothing was."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    generation_time_s: float = 0.0
    """From the claim to the last file written."""
    revision: str = ""
    """Precision of the weights that ran: fp32, fp16 or bf16."""
    reason: str = ""
    """Why it failed or was cancelled, for the client; empty when it succeeded."""


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
