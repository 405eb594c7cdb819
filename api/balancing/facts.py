"""What servers compare: how much each has to do, what it can make, and what a job needs."""

from collections import Counter
from collections.abc import Mapping
from statistics import mean

from api.balancing.choice import Load
from shared.jobs import JobSpec
from shared.ledger import ServerLoad
from shared.registry import ModelKind, Snapshot, name_of

Abilities = Mapping[str, str]
"""`kind:id` of a model, or a kind alone → digest of its files; empty if nobody knows it."""


def load_of(here: ServerLoad) -> Load:
    """Of the server whose ledger says that."""
    workers = here.workers
    loads_s = [worker.load_s for worker in workers if worker.load_s]
    loaded = Counter(model for worker in workers for model in worker.models)
    return Load(
        work_left=here.work_left,
        pace_ms=here.pace_ms,
        job_pace_ms=here.job_pace_ms,
        workers=len(workers),
        slots=sum(worker.slots for worker in workers),
        open_jobs=here.open_jobs,
        warmth={model: count / len(workers) for model, count in loaded.items()},
        load_s=mean(loads_s) if loads_s else None,
    )


def load_ahead(here: ServerLoad) -> Load:
    """Without the jobs behind those that are looked at, which wait for nothing but them."""
    behind = here.leavers_behind
    work = behind * mean(each.cost for each in here.leavers) if behind else 0.0
    return load_of(here).without(work, behind)


def abilities(models: Snapshot) -> Abilities:
    """What jobs can be bound to here."""
    named = {name_of(entry.kind, entry.model_id): entry.sha256 for entry in models.all()}
    chosen = {str(kind): entry.sha256 for kind in ModelKind if (entry := models.default(kind))}
    return named | chosen


def can_make(spec: JobSpec, models: Snapshot, there: Abilities) -> bool:
    """Whether a server with these abilities would make the same of it. `models` are this server's own.

    What a job is bound to here must be there too, tools that this server chose by itself included.
    """
    for name, entry_id in spec.pins.items():
        if name not in there:
            return False
        entry = models.entries.get(entry_id)
        if entry and entry.sha256 and there[name] and entry.sha256 != there[name]:
            return False
    return True
