"""models.yaml: the models that an operator begins with.

    models:
      - {kind: checkpoint, id: my-model, path: models/my-model}         # relative to this file
      - {kind: checkpoint, id: sdxl, hub: stabilityai/stable-diffusion-xl-base-1.0, revision: fp16}
      - {kind: lora, id: my-style, url: "https://example.com/style.safetensors"}

Paths are used in place; what a hub or a URL holds is loaded when it is first named here.
"""

import contextlib
import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import Misconfigured
from shared.ip_adapters import IP_ADAPTERS
from shared.registry.entry import Entry, ModelId, ModelKind
from shared.registry.snapshot import name_of

_IDS = uuid.UUID("6f0f7a2e-52a5-4c0b-9a54-0f3b1d0a6c11")


class FileModel(BaseModel):
    """One model of the file. Exactly one of `path`, `hub` and `url` says where it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: ModelKind
    id: ModelId
    path: Path | None = None
    """File or folder, relative to models.yaml."""
    hub: str | None = None
    """`owner/name`, with `@revision` behind it for another than main."""
    url: Annotated[str | None, Field(pattern=r"^https?://")] = None
    family: str = ""
    format: str = ""
    revision: Literal["fp16", "fp32", ""] = ""
    config: str = ""
    """Of a single-file checkpoint: hub id, or path below the models folder, of what describes it."""
    upcast_attention: bool = False

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if sum(each is not None for each in (self.path, self.hub, self.url)) != 1:
            raise ValueError("needs exactly one of path, hub and url")
        if self.kind is ModelKind.IP_ADAPTER and self.id not in IP_ADAPTERS:
            raise ValueError(f"id of an ip_adapter must be one of {', '.join(IP_ADAPTERS)}")
        return self


@dataclass(frozen=True)
class Listed:
    """A model of a file in this folder."""

    line: FileModel
    folder: Path

    @property
    def name(self) -> str:
        return name_of(self.line.kind, self.line.id)

    @property
    def path(self) -> Path | None:
        """Absolute."""
        return self.folder / self.line.path if self.line.path else None

    @property
    def entry_id(self) -> str:
        """The same in every process that reads the same line of the same file."""
        said = self.line.model_dump(mode="json") | {"path": str(self.path)}
        return str(uuid.uuid5(_IDS, json.dumps(said, sort_keys=True)))

    def entry(self, rank: int) -> Entry | None:
        """Of a model that is used in place; None of one that is to be loaded first."""
        if self.path is None:
            return None
        return Entry(
            entry_id=self.entry_id,
            model_id=self.line.id,
            kind=self.line.kind,
            family=self.line.family,
            source=str(self.line.path),
            format=self.line.format or _format(self.path),
            revision=self.line.revision,
            bytes=_bytes(self.path),
            sha256=_sha256(self.path),
            loaded_at=time.time(),
            path=str(self.path),
            rank=rank,
        )


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    models: list[FileModel] = []


def read_models(file: Path) -> list[Listed]:
    """Raises `Misconfigured` with a sentence about what is wrong."""
    try:
        content = yaml.safe_load(file.read_text()) or {}
        lines = _File.model_validate(content).models
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise Misconfigured(f"{file} can't be read: {exc}") from exc
    except ValidationError as exc:
        wrong = exc.errors(include_url=False, include_input=False)[0]
        raise Misconfigured(f"{file}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from None
    models = [Listed(line, file.resolve().parent) for line in lines]
    names = [model.name for model in models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Misconfigured(f"{file}: {twice} is there twice")
    return models


def _format(path: Path) -> str:
    """As far as this process can see it."""
    if path.is_dir():
        return "diffusers" if (path / "model_index.json").is_file() else "folder"
    return path.suffix.removeprefix(".")


def _sha256(path: Path) -> str:
    """Of a file. Folders may have gigabytes, and a server should start at once."""
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return ""


def _bytes(path: Path) -> int:
    """Of the files, as far as this process can see them."""
    files = path.rglob("*") if path.is_dir() else [path]
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
