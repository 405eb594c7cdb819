"""Where a job's models lie on this machine. What the Catalogue asks; who answers, it does not know."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.jobs import JobSpec
from shared.registry import Entry, ModelKind


@dataclass(frozen=True)
class Place:
    """A registered model and its file or folder."""

    entry: Entry
    path: Path


class Places(Protocol):
    """What one job may use. Both raise `GenerationFailed` for files that can't be had."""

    def find(self, kind: ModelKind, model_id: str) -> Place | None: ...

    def default(self, kind: ModelKind) -> Place | None:
        """The server's own choice of this kind."""


@dataclass(frozen=True)
class Only:
    """One model that was just installed and is tried out, and the tools that it may need."""

    place: Place
    others: Places

    def find(self, kind: ModelKind, model_id: str) -> Place | None:
        entry = self.place.entry
        return self.place if (entry.kind, entry.model_id) == (kind, model_id) else None

    def default(self, kind: ModelKind) -> Place | None:
        return self.place if self.place.entry.kind is kind else self.others.default(kind)


class Registered(Places, Protocol):
    """All that is registered now."""

    def here(self, kind: ModelKind) -> list[Place]:
        """What of this kind lies on this machine already, the default first."""


class Models(Protocol):
    """All models of this worker."""

    def of(self, spec: JobSpec) -> Places: ...

    def current(self) -> Registered:
        """Those that are registered now, for what is no job's."""
