"""What a GPU worker counts, by hand."""

import contextlib
import importlib
import pkgutil
import time
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

import worker.gpu
from shared.errors import GenerationFailed
from shared.jobs import JobState, Outcome
from shared.ledger import Claim
from shared.settings import Settings
from tests.support.jobs import make_spec
from tests.support.painting import running_engine
from worker.gpu.engine import Ask, Note, Steps, one
from worker.gpu.metrics import EngineMetrics, JobMetrics, ShelfMetrics
from worker.gpu.models.cache import Key, Shelf, Wanted

TICK_S, IDLE_S = 0.1, 0.4


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def claimed(attempts: int = 1, waited_s: float = 3.0, **spec: object) -> Claim:
    return Claim(
        job_id=1,
        token="t",
        tenant="tenant",
        attempts=attempts,
        spec=make_spec(**spec),
        bells=(),
        waited_s=waited_s,
    )


def told(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"printworks_{name}", labels)


def test_only_first_attempts_tell_how_long_jobs_wait(registry: CollectorRegistry) -> None:
    metrics = JobMetrics(registry, Settings())
    for attempts in (1, 2):
        with metrics.attended(claimed(attempts)):
            metrics.stepped(claimed(attempts), 0.5)

    for attempt in ("1", "2"):
        assert told(registry, "jobs_started_total", attempt=attempt) == 1
    assert told(registry, "queue_seconds_sum") == 3.0
    assert told(registry, "first_step_seconds_sum") == 3.5


def test_a_slot_is_busy_while_it_attends_to_a_job_however_that_ends(registry: CollectorRegistry) -> None:
    metrics = JobMetrics(registry, Settings())

    with contextlib.suppress(GenerationFailed), metrics.attended(claimed()):
        busy = told(registry, "slots_busy")
        raise GenerationFailed("Why.")

    assert (busy, told(registry, "slots_busy")) == (1, 0)


def test_only_what_was_made_tells_how_long_making_takes(registry: CollectorRegistry) -> None:
    metrics = JobMetrics(registry, Settings())
    claim = claimed(pins={"checkpoint:demo": "entry"})
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED):
        metrics.finished(claim, state, Outcome(generation_time_s=2.0))

    assert told(registry, "generation_seconds_count", endpoint="text2img", model="demo") == 1


def test_a_model_that_nobody_has_registered_has_no_name_in_metrics(registry: CollectorRegistry) -> None:
    metrics = JobMetrics(registry, Settings())
    for model_id in ("made-up", "made-up-too"):
        claim = claimed(model_id=model_id, pins={"checkpoint:demo": "entry", "upscaler": "another"})
        metrics.finished(claim, JobState.FAILED, Outcome())

    assert told(registry, "jobs_finished_total", endpoint="text2img", model="", state="failed") == 2


def test_the_shelf_tells_what_comes_and_goes_and_nothing_of_what_can_not_be_read(
    registry: CollectorRegistry,
) -> None:
    def unreadable() -> str:
        raise GenerationFailed("It can't be read.")

    shelf = Shelf(20, ShelfMetrics(registry))
    for name in ("a", "b", "c"):
        with shelf.borrow([Wanted(Key("vae", name), name.upper, 10, lambda _: 10)]):
            pass
    with pytest.raises(GenerationFailed), shelf.borrow([Wanted(Key("vae", "d"), unreadable, 0, lambda _: 0)]):
        pass

    assert told(registry, "models_loaded", kind="vae") == 2
    assert told(registry, "model_load_seconds_count", kind="vae") == 3
    assert told(registry, "model_evictions_total", kind="vae") == 1


class Slow(Ask[None]):
    """Keeps the device for a while."""

    work = "slow"

    @property
    def shape(self) -> str:
        return "slow"

    def answer(self, asks: Sequence["Slow"]) -> list[None]:
        time.sleep(TICK_S)
        return [None for _ in asks]


def test_the_engine_is_busy_for_as_long_as_it_has_work_and_not_while_it_waits_for_some(
    registry: CollectorRegistry,
) -> None:
    def program(_: Note) -> Steps[None]:
        yield from one(Slow())

    with running_engine(observer=EngineMetrics(registry, Settings())) as engine:
        for _ in range(2):
            time.sleep(IDLE_S)  # it passes, and must not be counted
            engine.submit([program]).result()
    busy = told(registry, "gpu_busy_seconds_total") or 0.0
    ticked = told(registry, "tick_seconds_sum", work="slow") or 0.0

    assert 2 * TICK_S <= ticked <= busy < ticked + IDLE_S
    assert told(registry, "tick_seconds_count", work="slow") == 2
    assert told(registry, "lane_width_count") == 0


def test_every_kind_of_ask_has_a_name_that_operators_know_it_by() -> None:
    for module in pkgutil.walk_packages(worker.gpu.__path__, "worker.gpu."):
        if module.name != "worker.gpu.app":  # which starts a worker
            importlib.import_module(module.name)
    kinds = [kind for kind in Ask.__subclasses__() if kind.__module__.startswith("worker.gpu.")]

    assert {kind.__qualname__ for kind in kinds if kind.work == Ask.work} == set()
    assert len(kinds) >= 13
