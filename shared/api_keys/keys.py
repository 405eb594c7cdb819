"""A key as it is stored: its digest, whose it is, and what its tenant may use. Knows nothing of files."""

import hashlib
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

ID_LENGTH = 8
MOST_PER_MINUTE = 1_000_000
"""More than that is no limit."""


class Role(StrEnum):
    """What a key may do."""

    USER = "user"
    ADMIN = "admin"
    """May manage the server too."""
    PEER = "peer"
    """Another server of the operator's: may hand jobs over."""


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() != timedelta(0):
        raise ValueError("not in UTC")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class ApiKey(BaseModel):
    """A tenant's key without the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    name: Annotated[str, Field(pattern=r"^\P{C}{0,64}$")] = ""
    """Tells people which of the tenant's keys it is."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Keys are 32 random bytes, so a plain digest can't be guessed back."""
    role: Role = Role.USER
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Share of the GPUs relative to other tenants while all of them have work waiting."""
    priority: Annotated[int, Field(ge=0, le=10)] = 0
    """Head start of this tenant's jobs; bounded, so that nobody starves."""
    max_open_jobs: Annotated[int, Field(ge=1)] | None = None
    """How many jobs of this tenant may be queued or running; None is without a limit."""
    max_requests_per_minute: Annotated[int, Field(ge=1, le=MOST_PER_MINUTE)] | None = None
    """How many requests of any kind may come with this key, to all gateways; None is without a limit."""
    created_at: Moment | None = None
    expires_at: Moment | None = None
    """From then on the key is refused; None is never."""

    @property
    def key_id(self) -> str:
        """What people call it: too little of the digest to be of use to anybody else."""
        return self.sha256[:ID_LENGTH]

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    @property
    def may_hand_over(self) -> bool:
        return self.role in (Role.PEER, Role.ADMIN)

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


WORDS = {
    "tenant": "must be 1 to 64 letters, digits, dots, dashes and underscores",
    "name": "must be at most 64 characters that can be printed",
    "sha256": "must be the SHA-256 of the key in 64 hexadecimal digits, in lower case",
    "role": f"must be {', '.join(Role)}",
    "weight": "must be a number above 0",
    "priority": "must be a whole number from 0 to 10",
    "max_open_jobs": "must be a whole number of at least 1",
    "max_requests_per_minute": f"must be a whole number from 1 to {MOST_PER_MINUTE}",
    "created_at": "must be a time in UTC, like 2030-01-31T12:00:00Z",
    "expires_at": "must be a time in UTC, like 2030-01-31T12:00:00Z",
}


def what_is_wrong(error: ValidationError) -> str:
    """A sentence about an entry that repeats nothing of it: a key may stand where a digest should be."""
    wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
    entries = [f"entry {part + 1}: " for part in wrong["loc"] if isinstance(part, int)]
    fields = [part for part in wrong["loc"] if isinstance(part, str)]
    if not fields:
        return f"{''.join(entries)}{wrong['msg']}"
    if fields[0] not in WORDS:
        return f"{''.join(entries)}there is a field besides {', '.join(WORDS)}"
    return f"{''.join(entries)}{fields[0]} {WORDS[fields[0]]}"
