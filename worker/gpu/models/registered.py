"""The registered models as this machine has them: a job gets the entries that it pinned."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import GenerationFailed
from shared.jobs import JobSpec, LoadSpec, spec_from_json
from shared.registry import Entry, ModelKind, Snapshot, name_of
from shared.registry.reading import Registry
from worker.gpu.installing import Effort, Installer
from worker.gpu.models.places import Place, Places


class Files:
    """Entries' files on this machine. What another machine has loaded is fetched here too."""

    def __init__(self, installer: Installer) -> None:
        self._installer = installer
        self._fetching: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def place(self, entry: Entry) -> Place:
        """Raises `GenerationFailed` if the files can't be had."""
        path = self._installer.place_of(entry)
        if not path.exists() and entry.recipe:
            with self._lock:
                fetching = self._fetching.setdefault(entry.entry_id, threading.Lock())
            with fetching:
                self._fetch(entry)
        return Place(entry, path)

    def _fetch(self, entry: Entry) -> None:
        spec = spec_from_json(entry.recipe)
        if not isinstance(spec, LoadSpec):
            raise GenerationFailed(f"{entry.model_id} can't be loaded on the server.")
        self._installer.install(spec, Effort())


@dataclass(frozen=True)
class Pinned:
    """What one job may use: only what it pinned when it was accepted."""

    pins: Mapping[str, str]
    snapshot: Snapshot
    files: Files

    def find(self, kind: ModelKind, model_id: str) -> Place | None:
        return self._place(self.pins.get(name_of(kind, model_id)))

    def default(self, kind: ModelKind) -> Place | None:
        return self._place(self.pins.get(kind))

    def ids(self, kind: ModelKind) -> tuple[str, ...]:
        names = (name.partition(":") for name in self.pins)
        return tuple(model_id for each, _, model_id in names if each == kind and model_id)

    def _place(self, entry_id: str | None) -> Place | None:
        entry = self.snapshot.entries.get(entry_id or "")
        return self.files.place(entry) if entry else None


@dataclass(frozen=True)
class Current:
    """All that is registered now."""

    snapshot: Snapshot
    files: Files

    def find(self, kind: ModelKind, model_id: str) -> Place | None:
        return self._place(self.snapshot.find(kind, model_id))

    def default(self, kind: ModelKind) -> Place | None:
        return self._place(self.snapshot.default(kind))

    def ids(self, kind: ModelKind) -> tuple[str, ...]:
        return self.snapshot.ids(kind)

    def _place(self, entry: Entry | None) -> Place | None:
        return self.files.place(entry) if entry else None


class RegisteredModels:
    """The `Models` of a worker that has a ledger."""

    def __init__(self, registry: Registry, files: Files) -> None:
        self._registry = registry
        self._files = files

    def of(self, spec: JobSpec) -> Places:
        """Raises `LedgerUnavailable`."""
        return Pinned(spec.pins, self._registry.look(), self._files)

    def current(self) -> Places:
        """Raises `LedgerUnavailable`."""
        return Current(self._registry.look(), self._files)
