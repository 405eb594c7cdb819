"""Jobs that load a model: fetch its files, check them, register it."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.jobs.spec import JobSpec, Kind
from shared.registry import ModelKind

LAST_RANK = 1_000_000
"""Of models that were loaded by the API: they come behind the operator's own."""


class Origin(StrEnum):
    """Where a model's files come from."""

    HUB = "hub"
    """A repository of the Hugging Face hub: `owner/name`, or `owner/name@revision` for another than main."""
    URL = "url"
    PATH = "path"
    """Below the models folder, relative to it."""
    PEER = "peer"
    """Another server of ours: `URL of the server`, and the entry there."""


class ModelSource(BaseModel):
    """An address, of which only `shown` may be seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    origin: Origin
    shown: str
    """The address; of a URL with a query, without it."""
    sealed: str | None = None
    """The whole address, sealed (shared/sealing.py), where `shown` is not all of it; of a peer, its URL and
    its key in JSON."""


class LoadSpec(JobSpec):
    """One model to be loaded. Its `file_prefix` becomes the entry's id."""

    kind: Literal[Kind.LOAD_MODEL] = Kind.LOAD_MODEL
    model_kind: ModelKind
    source: ModelSource
    format: str = ""
    """What the client said: diffusers, safetensors, ckpt, pt; empty: whatever the files are."""
    families: tuple[str, ...] = ()
    """Architectures that it may have; empty: any."""
    revision: Literal["fp16", "fp32", ""] = ""
    """In which precision a checkpoint is to be kept; empty: as it comes."""
    upcast_attention: bool = False
    """Compute a checkpoint's attention in fp32."""
    config: str = ""
    """For a single-file checkpoint of unusual shape: hub id, or path below the models folder, of a folder in
    diffusers' layout whose configs and tokenizers describe it."""
    rank: int = LAST_RANK
    seeded: bool = False
    """models.yaml asks for it."""
    peer_entry: str = ""
    """The entry's id at the peer."""

    @property
    def cost(self) -> int:
        return 0

    @property
    def file_count(self) -> int:
        return 0
