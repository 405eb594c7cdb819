"""The registered models as this machine has them: a job gets the entries that it pinned."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import GenerationFailed
from shared.jobs import JobSpec, LoadSpec, spec_from_json
from shared.registry import Entry, ModelKind, Snapshot, name_of
from shared.registry.reading import Registry
from worker.gpu.installing import Effort, Installer
from worker.gpu.models.places import Place, Places

Attach = Callable[[Effort], None]
"""Gets what is done for a job, to watch or to cancel it."""


def _nobody(_: Effort) -> None:
    """Watches nothing."""


class Files:
    """Entries' files on this machine. What another machine has loaded is fetched here too."""

    def __init__(self, installer: Installer) -> None:
        self._installer = installer
        self._fetching: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def is_here(self, entry: Entry) -> bool:
        return self._installer.place_of(entry).exists()

    def place(self, entry: Entry, attach: Attach = _nobody) -> Place:
        """Raises `GenerationFailed` if the files can't be had, or are not the same any more."""
        if not self.is_here(entry):
            with self._lock:
                fetching = self._fetching.setdefault(entry.entry_id, threading.Lock())
            with fetching:
                if not self.is_here(entry):
                    self._fetch(entry, attach)
        return Place(entry, self._installer.place_of(entry))

    def _fetch(self, entry: Entry, attach: Attach) -> None:
        spec = spec_from_json(entry.recipe) if entry.recipe else None
        if not isinstance(spec, LoadSpec) or Path(entry.path).is_absolute():
            raise GenerationFailed(f"The files of {entry.model_id} are not on the server any more.")
        effort = Effort()
        attach(effort)
        fetched = self._installer.install(spec, effort)
        if fetched.sha256 != entry.sha256:  # jobs were promised what was registered
            self._installer.remove(entry.entry_id)
            raise GenerationFailed(
                f"Model {entry.model_id} has changed at its source since it was loaded: load it again."
            )


@dataclass(frozen=True)
class Pinned:
    """What one job may use: only what it pinned when it was accepted."""

    pins: Mapping[str, str]
    snapshot: Snapshot
    files: Files
    attach: Attach = _nobody

    def find(self, kind: ModelKind, model_id: str) -> Place | None:
        return self._place(self.pins.get(name_of(kind, model_id)))

    def default(self, kind: ModelKind) -> Place | None:
        return self._place(self.pins.get(kind))

    def _place(self, entry_id: str | None) -> Place | None:
        entry = self.snapshot.entries.get(entry_id or "")
        return self.files.place(entry, self.attach) if entry else None


@dataclass(frozen=True)
class Current:
    """All that is registered now."""

    snapshot: Snapshot
    files: Files
    attach: Attach = _nobody

    def find(self, kind: ModelKind, model_id: str) -> Place | None:
        return self._place(self.snapshot.find(kind, model_id))

    def default(self, kind: ModelKind) -> Place | None:
        return self._place(self.snapshot.default(kind))

    def here(self, kind: ModelKind) -> list[Place]:
        return [self.files.place(entry) for entry in self.snapshot.all(kind) if self.files.is_here(entry)]

    def _place(self, entry: Entry | None) -> Place | None:
        return self.files.place(entry, self.attach) if entry else None


@dataclass(frozen=True)
class RegisteredModels:
    """The `Models` of a worker that has a ledger."""

    registry: Registry
    files: Files
    _attached: dict[str, Attach] = field(default_factory=dict)

    def of(self, spec: JobSpec) -> Places:
        """Raises `LedgerUnavailable`. A job that pins nothing was accepted when there was nothing to pin."""
        attach = self._attached.get(spec.file_prefix, _nobody)
        snapshot = self.registry.look()
        if not spec.pins:
            return Current(snapshot, self.files, attach)
        return Pinned(spec.pins, snapshot, self.files, attach)

    def current(self) -> Current:
        """Raises `LedgerUnavailable`."""
        return Current(self.registry.look(), self.files)

    @contextmanager
    def watched(self, spec: JobSpec, attach: Attach) -> Iterator[None]:
        """While the block runs, what has to be fetched for this job is attached."""
        self._attached[spec.file_prefix] = attach
        try:
            yield
        finally:
            del self._attached[spec.file_prefix]
