"""What a server tells of itself, and whether another would make the same of a job."""

import pytest

from api.balancing.facts import abilities, can_make, load_ahead, load_of
from shared.ledger import Leaver, ServerLoad, WorkerFacts
from shared.registry import Entry, ModelKind, Snapshot, name_of
from tests.support.jobs import make_spec


def worker(*models: str, slots: int = 4, load_s: float | None = None) -> WorkerFacts:
    return WorkerFacts(models=models, slots=slots, load_s=load_s)


def here(*workers: WorkerFacts, leavers: int = 0, behind: int = 0) -> ServerLoad:
    spec = make_spec()
    waiting = tuple(Leaver(job_id, 100, "m", "", spec) for job_id in range(leavers))
    return ServerLoad(
        work_left=1000.0,
        pace_ms=1.0,
        job_pace_ms=2.0,
        open_jobs=10,
        workers=workers,
        leavers=waiting,
        leavers_behind=behind,
    )


def entry(kind: ModelKind, model_id: str, sha256: str) -> Entry:
    return Entry(entry_id=f"entry-of-{model_id}", model_id=model_id, kind=kind, source="here", sha256=sha256)


def snapshot(*entries: Entry) -> Snapshot:
    names = {name_of(each.kind, each.model_id): each.entry_id for each in entries}
    return Snapshot(version="1", names=names, entries={each.entry_id: each for each in entries})


def test_a_load_is_that_of_all_workers() -> None:
    load = load_of(here(worker("a", "b", load_s=4.0), worker("a", slots=2, load_s=8.0)))

    assert (load.workers, load.slots) == (2, 6)
    assert load.warmth == {"a": 1.0, "b": 0.5}
    assert load.load_s == 6.0


def test_without_workers_there_is_no_slot() -> None:
    load = load_of(here())

    assert (load.workers, load.slots, load.warmth, load.load_s) == (0, 0, {}, None)


def test_what_waits_behind_those_that_are_looked_at_does_not_count() -> None:
    load = load_ahead(here(worker("m"), leavers=2, behind=3))

    assert (load.open_jobs, load.work_left) == (7, 700.0)


MODEL, TOOL = (
    entry(ModelKind.CHECKPOINT, "m", sha256="one"),
    entry(ModelKind.UPSCALER, "u", sha256=""),
)
HERE = snapshot(MODEL, TOOL)
SPEC = make_spec(pins={"checkpoint:m": MODEL.entry_id, "upscaler": TOOL.entry_id})


@pytest.mark.parametrize(
    ("there", "can"),
    [
        pytest.param(snapshot(MODEL, TOOL), True, id="the same"),
        pytest.param(snapshot(MODEL), False, id="without the tool"),
        pytest.param(snapshot(TOOL), False, id="without the model"),
        pytest.param(
            snapshot(entry(ModelKind.CHECKPOINT, "m", "two"), TOOL), False, id="another of the name"
        ),
        pytest.param(snapshot(entry(ModelKind.CHECKPOINT, "m", ""), TOOL), True, id="nobody knows which"),
        pytest.param(snapshot(entry(ModelKind.LORA, "m", "one"), TOOL), False, id="of another kind"),
        pytest.param(snapshot(MODEL, entry(ModelKind.UPSCALER, "v", "x")), True, id="its own choice of tool"),
    ],
)
def test_a_server_can_make_what_would_be_the_same_there(there: Snapshot, can: bool) -> None:
    assert can_make(SPEC, HERE, abilities(there)) is can
