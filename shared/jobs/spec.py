"""What every job has, whatever it makes: whose files, where they go, whom to tell."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr

Scalar = StrictStr | StrictBool | StrictInt | StrictFloat | None
"""A JSON scalar that keeps its JSON type on the way in and out."""

TEMP_FOLDER = "temp/"
LONGEST_SHOWN_TRACK_ID = 200
LATENT_PIXELS = 64
"""Pixels behind one position of the latent picture (8 x 8)."""


class Kind(StrEnum):
    """What a job does, by the name of its endpoint."""

    TEXT2IMG = "text2img"
    IMG2IMG = "img2img"
    INPAINT = "inpaint"
    CONTROLNET = "controlnet"
    TEXT2VIDEO = "text2video"
    SUPER_RESOLUTION = "super_resolution"
    NSFW_IMAGE_CHECK = "nsfw_image_check"
    LOAD_MODEL = "load_model"


class Dialect(StrEnum):
    """Which generation of the protocol the request came by: it decides names in `meta` and of files."""

    ENTERPRISE = "enterprise"
    V6 = "v6"
    FLUX = "flux"


class Role(StrEnum):
    """What an input picture is for."""

    INIT = "init"
    MASK = "mask"
    CONTROL = "control"
    IP_ADAPTER = "ip_adapter"


class InputPicture(BaseModel):
    """A picture that came with the request, checked and stored before the job was accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Of the stored input."""
    told: str
    """What answers say of it: the URL as it was sent, or `base64`."""
    width: int
    height: int


class Webhook(BaseModel):
    """Whom to tell that the job has ended. Made and read by shared/webhooks.py."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    receiver: str
    """Digest of the URL's host and port: deliveries to one receiver have the same. The host itself may be a
    secret of the client's."""
    url: str | None = None
    """In clear, where there is no key to seal it with."""
    sealed: str | None = None


OF_ITS_CLIENT: Mapping[str, object] = {"webhook": None, "track_id": None, "trace": {}}
"""Fields of a spec that only who has accepted it from a client needs, emptied."""


class JobSpec(BaseModel):
    """What to make. Complete when accepted: the seed is drawn by the gateway, so a retry repeats it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Kind
    dialect: Dialect = Dialect.ENTERPRISE
    model_id: str
    inputs: Mapping[Role, InputPicture] = {}
    temp: bool = False
    """The files end after `temp_life_s`."""
    instant_response: bool = False
    file_prefix: str
    """Unguessable and unique; names the files and, as the delivery's id, the webhook."""
    public_url: str
    """Scheme and host under which the client reached us, without a trailing slash."""
    pins: Mapping[str, str] = {}
    """Which entries of the registry its models are: `kind:id`, or the kind alone for the server's own choice,
    → entry id. They stay registered for as long as the job is open."""
    target: str | None = None
    """Entry id of the S3 target of its files; None: the storage folder."""
    files_url: str = ""
    """Before the names of its files; empty: those of the storage folder."""
    webhook: Webhook | None = None
    track_id: Scalar = None
    trace: Mapping[str, str] = {}
    """`traceparent` and `tracestate` of what has accepted it, if that is part of a trace."""
    home: str = ""
    """Name of the server that was asked, if another may make it; empty: it stays here."""

    @property
    @abstractmethod
    def cost(self) -> int:
        """Work units: one denoising step of one latent position costs about one."""

    @property
    def file_count(self) -> int:
        return 1

    @property
    def suffix(self) -> str:
        """Of the files."""
        return "png"

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files in storage, known before they exist."""
        # of the flux family nothing is kept for longer, says the protocol
        folder = TEMP_FOLDER if self.temp or self.dialect is Dialect.FLUX else ""
        numbers = range(self.file_count)
        if self.dialect is Dialect.V6:
            return tuple(f"{folder}{i}-{self.file_prefix}.{self.suffix}" for i in numbers)
        return tuple(f"{folder}{self.file_prefix}-{i}.{self.suffix}" for i in numbers)

    @property
    def file_urls(self) -> list[str]:
        base = self.files_url or f"{self.public_url}/generations"
        return [f"{base}/{name}" for name in self.file_names]

    @property
    def uses(self) -> frozenset[str]:
        """Ids of the entries that must stay for as long as the job is open."""
        return frozenset(self.pins.values()) | ({self.target} if self.target else frozenset())

    @property
    def registered_model(self) -> str:
        """`model_id`, if the job is bound to a model of that id: then nobody has made it up. Else empty."""
        bound_to = {name.partition(":")[2] for name in self.pins}
        return self.model_id if self.model_id in bound_to else ""

    @property
    def tracked_as(self) -> str | None:
        """`track_id` for logs and traces: as text, and not too long."""
        if self.track_id is None:
            return None
        text = self.track_id if isinstance(self.track_id, str) else json.dumps(self.track_id)
        return text[:LONGEST_SHOWN_TRACK_ID]

    def told(self, role: Role) -> str | None:
        """What answers say of this input."""
        return self.inputs[role].told if role in self.inputs else None
