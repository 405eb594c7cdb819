"""The registry at one moment, as every process keeps a copy of it."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from shared.registry.entry import Entry, ModelKind

logger = logging.getLogger(__name__)

NEVER = "0"
"""The version before the first."""
TARGET = "s3:"
"""Before the names of S3 targets."""


def name_of(kind: ModelKind, model_id: str) -> str:
    return f"{kind}:{model_id}"


def target_name(deploy_type: str) -> str:
    """Name of the S3 target of a deploy type."""
    return f"{TARGET}{deploy_type}"


@dataclass(frozen=True)
class Snapshot:
    """It never changes; a later one has another version."""

    version: str = NEVER
    updates: int = 0
    """How often an update of the settings was ordered."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the entry that it means."""
    entries: Mapping[str, Entry] = field(default_factory=dict)
    """All of them by their ids, with those that only open jobs still use."""
    targets: Mapping[str, str] = field(default_factory=dict)
    """The sealed S3 targets, in the same way."""
    seeded: Mapping[str, str] = field(default_factory=dict)
    """What models.yaml said when it was last read: name → entry id."""
    dropped: frozenset[str] = frozenset()
    """Ids of the entries whose files are to be deleted."""

    @classmethod
    def read(
        cls,
        version: str,
        updates: int,
        *,
        names: Mapping[str, str],
        entries: Mapping[str, str],
        seeded: Mapping[str, str],
        dropped: Collection[str],
    ) -> "Snapshot":
        """From what the ledger holds."""
        return cls(
            version=version,
            updates=updates,
            names=names,
            entries={k: entry for k, v in entries.items() if v.startswith("{") and (entry := _entry(v))},
            targets={k: v for k, v in entries.items() if not v.startswith("{")},
            seeded=seeded,
            dropped=frozenset(dropped),
        )

    def with_updates(self, updates: int) -> "Snapshot":
        return self if updates == self.updates else replace(self, updates=updates)

    @property
    def is_empty(self) -> bool:
        """Nothing was ever registered: models.yaml was not read yet."""
        return self.version == NEVER

    def find(self, kind: ModelKind, model_id: str) -> Entry | None:
        """What this id means now."""
        return self.entries.get(self.names.get(name_of(kind, model_id), ""))

    def has(self, kind: ModelKind, model_id: str) -> bool:
        return self.find(kind, model_id) is not None

    def all(self, kind: ModelKind | None = None) -> list[Entry]:
        """Everything that has a name, the defaults first."""
        named = (self.entries[entry] for entry in self.names.values() if entry in self.entries)
        chosen = [entry for entry in named if kind is None or entry.kind is kind]
        return sorted(chosen, key=lambda entry: (entry.rank, entry.loaded_at, entry.model_id))

    def default(self, kind: ModelKind) -> Entry | None:
        """The one that serves where no id is named."""
        return next(iter(self.all(kind)), None)

    def target_names(self, deploy_type: str) -> list[str]:
        """Names of a deploy type's S3 targets: that of new files, and those that links still lead to."""
        name = target_name(deploy_type)
        return [each for each in self.names if each == name or each.startswith(f"old {name} ")]

    def target(self, deploy_type: str) -> str | None:
        """Id of the S3 target for these files; None if they are stored in the folder."""
        return self.names.get(target_name(deploy_type))


def _entry(text: str) -> Entry | None:
    """None for a kind of model that another version knows: here it is not registered."""
    try:
        return Entry.model_validate_json(text)
    except ValidationError:
        logger.warning("an entry of another version is not known here")
        return None
