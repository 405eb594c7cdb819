"""The ledger's calls about the registry: what is registered, under which names."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.ledger.calls import Argument, Call, Claim
from shared.registry import Entry, Snapshot, name_of, target_name

DROPPED_LIFE_S = 30 * 24 * 3600
"""For how long workers that were away can still hear that an entry was dropped."""


@dataclass(frozen=True)
class Seed:
    """A model of the operator's file."""

    name: str
    entry_id: str
    entry: Entry | None
    """None if a load is to bring it."""
    is_revised: bool = False
    """It is registered already, and only something about it is another now."""


def registry(known: Snapshot | None) -> Call[Snapshot]:
    """The registry as it is now; `known` is what the caller has of it."""

    def parse(reply: Sequence[str | Sequence[str]]) -> Snapshot:
        version, updates = str(reply[0]), int(str(reply[1]))
        if known is not None and len(reply) == 2:
            return known.with_updates(updates)
        names, entries, seeded, dropped = reply[2:]
        return Snapshot.read(
            version,
            updates,
            names=_pairs(names),
            entries=_pairs(entries),
            seeded=_pairs(seeded),
            dropped=dropped,
        )

    arguments: list[Argument] = [known.version if known else "", DROPPED_LIFE_S * 1000]
    return Call("registry", arguments, parse)


class Registered(StrEnum):
    """What became of a load's wish to register its model."""

    YES = "registered"
    LOST = "lost"
    """Another worker has the load."""
    SUPERSEDED = "superseded"
    """Its id was given to another, or deleted, by who came later."""


def register(entry: Entry, load: Claim, *, seeded: bool) -> Call[Registered]:
    """Register a model that a load has brought. `seeded`: the operator's file asked for it."""
    arguments: list[Argument] = [
        *(name_of(entry.kind, entry.model_id), entry.entry_id, entry.model_dump_json()),
        *(load.job_id, load.token, "1" if seeded else "0"),
    ]
    return Call("register", arguments, lambda reply: Registered(str(reply)))


def register_target(deploy_type: str, entry_id: str, sealed: str) -> Call[None]:
    """Register where the files of a deploy type are stored from now on."""
    return Call("register", [target_name(deploy_type), entry_id, sealed, "", "", "0"], lambda _: None)


def unregister(names: Sequence[str]) -> Call[int]:
    """Take names back; tells how many of them there were."""
    return Call("unregister", list(names), lambda reply: int(str(reply)))


def seed(seeds: Sequence[Seed]) -> Call[None]:
    """Bring the registry up to date with the whole of the operator's file."""
    arguments: list[Argument] = []
    for each in seeds:
        content = each.entry.model_dump_json() if each.entry else ""
        arguments += [each.name, each.entry_id, content, "1" if each.is_revised else "0"]
    return Call("seed", arguments, lambda _: None)


def _pairs(flat: str | Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
