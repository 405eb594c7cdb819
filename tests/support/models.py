"""Registries for tests: the demo's models, with tables of others in the place of some kinds."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.ip_adapters import IP_ADAPTERS
from shared.jobs import JobSpec
from shared.registry import Entry, ModelKind, Snapshot, name_of
from shared.registry.file import read_models
from shared.settings import DEMO
from worker.gpu.models.places import Place, Places, Registered

SEVERAL = {
    "models": ModelKind.CHECKPOINT,
    "loras": ModelKind.LORA,
    "embeddings": ModelKind.EMBEDDING,
    "vaes": ModelKind.VAE,
    "controlnets": ModelKind.CONTROLNET,
    "upscalers": ModelKind.UPSCALER,
    "videos": ModelKind.VIDEO,
}
"""Tables: id → path."""
ONE = {
    "motion_adapter": ModelKind.MOTION,
    "safety_checker": ModelKind.SAFETY,
    "translator": ModelKind.TRANSLATOR,
    "prompt_writer": ModelKind.ENHANCER,
    "depth_estimator": ModelKind.DEPTH,
    "segmenter": ModelKind.SEGMENTER,
    "annotators_folder": ModelKind.ANNOTATORS,
    "face_enhancer": ModelKind.FACE,
}
"""A path."""
TABLES = {*SEVERAL, *ONE, "ip_adapter_folder"}


def entries_of(**tables: Any) -> list[Entry]:
    """The demo's models; of the kinds that `tables` name, theirs instead."""
    demo = [entry for each in read_models(DEMO / "models.yaml") if (entry := each.entry(0))]
    given: list[Entry] = []
    for table, content in tables.items():
        if table in SEVERAL:
            given += [entry_of(SEVERAL[table], model_id, path) for model_id, path in content.items()]
        elif table in ONE and content is not None:
            given.append(entry_of(ONE[table], table.replace("_", "-"), content))
        elif table == "ip_adapter_folder":
            given += [entry_of(ModelKind.IP_ADAPTER, adapter_id, content) for adapter_id in IP_ADAPTERS]
    replaced = {SEVERAL.get(table, ONE.get(table)) for table in tables}
    return [entry for entry in demo if entry.kind not in replaced] + given


def entry_of(kind: ModelKind, model_id: str, path: Path | str) -> Entry:
    return Entry(
        entry_id=str(uuid.uuid4()),
        model_id=model_id,
        kind=kind,
        source=str(path),
        path=str(Path(path).resolve()),
    )


def snapshot_of(**tables: Any) -> Snapshot:
    entries = {entry.entry_id: entry for entry in entries_of(**tables)}
    ranked = {key: each.model_copy(update={"rank": rank}) for rank, (key, each) in enumerate(entries.items())}
    names = {name_of(entry.kind, entry.model_id): entry_id for entry_id, entry in ranked.items()}
    return Snapshot(version="1", names=names, entries=ranked)


def ids_of(models: Snapshot, kind: ModelKind) -> tuple[str, ...]:
    """Of this kind, the default first."""
    return tuple(entry.model_id for entry in models.all(kind))


def write_models_file(file: Path, **tables: Any) -> Path:
    """The same as a models.yaml, for processes."""
    models = [
        {"kind": str(entry.kind), "id": entry.model_id, "path": entry.path} for entry in entries_of(**tables)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({"models": models}))
    return file


@dataclass(frozen=True)
class Installed:
    """A `Models` without a ledger: every job may use everything, wherever it lies."""

    snapshot: Snapshot

    def of(self, _: JobSpec) -> Places:
        return self

    def current(self) -> Registered:
        return self

    def find(self, kind: ModelKind, model_id: str) -> Place | None:
        return _place(self.snapshot.find(kind, model_id))

    def default(self, kind: ModelKind) -> Place | None:
        return _place(self.snapshot.default(kind))

    def here(self, kind: ModelKind) -> list[Place]:
        return [Place(entry, Path(entry.path)) for entry in self.snapshot.all(kind)]


def installed(**tables: Any) -> Installed:
    return Installed(snapshot_of(**tables))


def pin_everything(models: Snapshot) -> dict[str, str]:
    """As the gateway pins what a job needs, but all there is."""
    defaults = {kind: entry.entry_id for kind in ModelKind if (entry := models.default(kind))}
    return defaults | {
        name: entry_id for name, entry_id in models.names.items() if entry_id in models.entries
    }


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What are tables of models, and what are settings."""
    tables = {name: value for name, value in values.items() if name in TABLES}
    return tables, {name: value for name, value in values.items() if name not in TABLES}


def _place(entry: Entry | None) -> Place | None:
    return Place(entry, Path(entry.path)) if entry else None
