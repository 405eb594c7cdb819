"""What every request for a job shares, and what the fields of several endpoints are made of."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from api.wire.loose import AnyScalar, OptionalText, Switch, WholeNumber
from shared.jobs import AnySpec, Dialect, InputPicture, Kind, Role, Webhook
from shared.registry import ModelKind, Snapshot
from shared.settings import Settings


@dataclass(frozen=True)
class GivenPicture:
    """A picture as the client sent it: a URL or base64, in the field of this name."""

    field: str
    value: str


@dataclass(frozen=True)
class Needed:
    """Ids that a request names, and of which kinds of models they may be."""

    what: str
    kinds: tuple[ModelKind, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Here:
    """What a request may ask for on this server, by these routes."""

    settings: Settings
    models: Snapshot
    dialect: Dialect


@dataclass(frozen=True)
class Terms:
    """What the gateway adds to a body to make it a job."""

    here: Here
    public_url: str
    file_prefix: str
    inputs: Mapping[Role, InputPicture]
    pins: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    files_url: str = ""
    webhook: Webhook | None = None
    home: str = ""
    trace: Mapping[str, str] = field(default_factory=dict)


class JobBody(BaseModel):
    """Base of all bodies that become jobs."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    kind: ClassVar[Kind]
    """Of the jobs that they become."""
    spellings: ClassVar[Mapping[str, str]] = {}
    """Other names of fields, as some clients spell them."""

    temp: Switch = False
    """The files end after 24 hours."""
    instant_response: Switch = False
    """Answer `processing` at once instead of waiting for the result."""
    webhook: OptionalText = None
    """URL that gets a POST when the job has ended."""
    loadbalancer: Switch = False
    """Another of the operator's servers may make it, if it would be done there sooner."""
    track_id: AnyScalar = None
    """Comes back in the webhook with the JSON type that it was sent with."""

    @property
    def pictures(self) -> dict[Role, GivenPicture]:
        """What came with the request."""
        return {}

    def needed(self, here: Here) -> list[Needed]:  # noqa: ARG002 - some need it
        """What must be registered under the ids that the request names."""
        return []

    def missing(self, here: Here) -> str | None:  # noqa: ARG002 - some need it
        """What else must be installed and is not, as a sentence for the client."""
        return None

    @abstractmethod
    def to_spec(self, terms: Terms) -> AnySpec:
        """The job to accept; draws the seed if the client left it open."""

    def common(self, terms: Terms) -> dict[str, Any]:
        """The fields of a `JobSpec` that a body of this base gives."""
        return {
            "dialect": terms.here.dialect,
            "inputs": terms.inputs,
            "pins": terms.pins,
            "target": terms.target,
            "files_url": terms.files_url,
            "temp": self.temp,
            "instant_response": self.instant_response,
            "file_prefix": terms.file_prefix,
            "public_url": terms.public_url,
            "webhook": terms.webhook,
            "track_id": self.track_id,
            "home": terms.home,
            "trace": terms.trace,
        }


def given(**fields: tuple[str, str | None]) -> dict[Role, GivenPicture]:
    """By role: the field's name and what it holds, left out if that is nothing."""
    return {Role(role): GivenPicture(field, value) for role, (field, value) in fields.items() if value}


def limits(info: ValidationInfo) -> Settings:
    """The server's settings, which come as the context."""
    return info.context or Settings()


def wrong(field: str, words: str) -> PydanticCustomError:
    return PydanticCustomError("of_field", "{field} {words}", {"field": field, "words": words})


def one_of(*names: str) -> AfterValidator:
    def check(name: str | None) -> str | None:
        if name is not None and name not in names:
            raise PydanticCustomError("sentence", "must be one of {names}", {"names": ", ".join(names)})
        return name

    return AfterValidator(check)


Id = Annotated[str, Field(max_length=200)]


class ModelId(BaseModel):
    """The id of a model, where nothing else is sent."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_id: Id


class Page(BaseModel):
    """Which part of a long list, of which the first is 1."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    page: Annotated[WholeNumber, Field(ge=1, le=1_000_000)] = 1


class RequestId(BaseModel):
    """A job's id as clients send it: in the body or in the path, as a number or a string of digits."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    request_id: Annotated[WholeNumber, Field(ge=0, le=2**53)]
