"""The registry: which models this installation has. It is kept in the ledger, seeded from models.yaml and
changed by the API.

A job pins the entries that it needs when it is accepted, so what is registered later never changes it.
"""

from shared.registry.entry import MODEL_ID, Entry, EntryId, ModelId, ModelKind
from shared.registry.snapshot import Snapshot, name_of, target_name

__all__ = ["MODEL_ID", "Entry", "EntryId", "ModelId", "ModelKind", "Snapshot", "name_of", "target_name"]
