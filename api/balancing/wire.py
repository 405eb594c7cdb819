"""What servers say to each other. Only servers of one version do, so nothing here is loose."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.balancing.choice import Load
from shared.jobs import AnySpec, JobState, Outcome, Role
from shared.settings import ServerName

PATH = "/api/v1/enterprise/servers"
VIA = "Printworks-Via"
"""Header that names the server which gave the request on. Whoever has it gives it on no further."""
MOST_JOBS = 2000
"""That are asked after at a time."""
_STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


class Question(BaseModel):
    """How is it over there?"""

    model_config = _STRICT

    known: str = ""
    """Version of the models that the asking server knows already."""
    jobs: Annotated[tuple[int, ...], Field(max_length=MOST_JOBS)] = ()
    """That it has given there."""


class Told(BaseModel):
    """How far a job is that was given."""

    model_config = _STRICT

    state: JobState
    progress: float
    outcome: Outcome | None = None
    """Once it has ended."""
    files: tuple[str, ...] = ()
    """Its files, as URLs or as paths at that server; none if they lie where the asking server's own would."""


class ServerState(BaseModel):
    """How it is here."""

    model_config = _STRICT

    name: ServerName
    version: str
    """Of Printworks."""
    time_s: float
    """Unix time."""
    load: Load
    models_version: str
    models: dict[str, str] | None = None
    """What jobs can be bound to here: `kind:id`, or a kind alone → digest of its files, empty if unknown.
    None: what the asking server knows still holds."""
    jobs: dict[int, Told] = {}
    """Those of the question that there are."""


class Callback(BaseModel):
    """How to tell the asking server that a job has ended. It asks by itself too, but not as soon."""

    model_config = _STRICT

    url: Annotated[str, Field(max_length=2000)]
    secret: Annotated[str, Field(pattern=r"^whsec_[A-Za-z0-9+/=]{1,200}$")]
    """Signs the call as Standard Webhooks does."""


class HandOver(BaseModel):
    """A job that another server was asked for."""

    model_config = _STRICT

    spec: AnySpec
    """With the names of its models (`pins`) and its S3 target as they are at the asking server."""
    pictures: dict[Role, str] = {}
    """In base64, for each input of the spec."""
    callback: Callback


class HandedOver(BaseModel):
    """It was accepted."""

    model_config = ConfigDict(frozen=True)

    id: int
