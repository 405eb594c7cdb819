"""A job's life: its states, how it ended, and its record as the ledger knows it."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.jobs.film import FilmSpec
from shared.jobs.load import LoadSpec
from shared.jobs.picture import PictureSpec
from shared.jobs.single import CheckSpec, EnlargementSpec
from shared.jobs.spec import Scalar

AnySpec = Annotated[
    PictureSpec | FilmSpec | EnlargementSpec | CheckSpec | LoadSpec, Field(discriminator="kind")
]


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


class Outcome(BaseModel):
    """How a job ended: what was made, or why nothing was. Of another version it may have more fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    generation_time_s: float = 0.0
    """From the claim to the last picture."""
    revision: str = ""
    """Precision of the weights that ran: fp32, fp16 or bf16."""
    reason: str = ""
    """Why it failed or was cancelled, for the client; empty when it succeeded."""
    ran: dict[str, Scalar] = {}
    """What really ran, by the names of the spec's facts (shared/meta.py), where only the work can tell."""
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
    spec: AnySpec
    attempts: int = 0
    progress: float = 0.0
    """Denoising steps done, 0 to 1."""
    outcome: Outcome | None = None
    eta_s: float = 0.0
    """Predicted seconds until it is done."""
