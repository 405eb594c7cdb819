"""Workers of several pools on one ledger: who takes what, who is rung, and what the metrics say of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.metrics import Metrics
from shared import ledger
from shared.broker import Bell, gpu_queue, make_celery
from shared.errors import MakesWay
from shared.jobs import JobState, Outcome
from shared.ledger import Claim, Held, Ledger
from shared.settings import Settings
from tests.support import tiny
from tests.support.jobs import accept, accept_load, accepting, claim, make_key, make_spec
from tests.support.known_metrics import LEDGER
from tests.support.metrics import OF_ALL
from tests.support.models import write_models_file
from tests.support.processes import running_worker
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_stable_diffusion(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def bell(settings: Settings) -> Iterator[Bell]:
    bell = Bell(make_celery(settings.redis_url, "tests"))
    yield bell
    bell.close()


def pool(settings: Settings, name: str, *serves: str) -> Settings:
    return settings.model_copy(update={"pool": name, "serves": serves})


def beat(
    store: Ledger, settings: Settings, worker: str = "", held: Claim | None = None, progress: float = 0.0
) -> None:
    jobs = ledger.held_jobs([(held.spec, progress)] if held else [])
    facts = ledger.WorkerFacts(pool=settings.pool, serves=settings.serves, slots=settings.slots, jobs=jobs)
    leases = [Held(held.job_id, held.token, progress)] if held else []
    store.run(ledger.beat(worker or f"of {settings.pool}", facts, settings, leases))


def taken(store: Ledger, settings: Settings, *loaded: str) -> str | None:
    """The model of the job that a worker with these settings gets."""
    found = store.run(ledger.claim(f"of {settings.pool}", "t", settings, loaded, is_idle=True))
    return found.spec.model_id if found else None


def loaded(store: Ledger, settings: Settings) -> str | None:
    found = store.run(ledger.claim_load(f"of {settings.pool}", "t", settings))
    return found.spec.model_id if found else None


def test_a_worker_takes_only_what_its_pool_serves_in_the_order_of_all(
    store: Ledger, settings: Settings
) -> None:
    for model in ("small", "large", "medium", "small"):
        accept(store, settings, model_id=model)
    few = pool(settings, "few", "medium", "small")

    assert [taken(store, few) for _ in range(4)] == ["small", "medium", "small", None]
    assert taken(store, pool(settings, "all")) == "large"


def test_a_loaded_model_that_the_pool_does_not_serve_is_no_reason_to_take_its_job(
    store: Ledger, settings: Settings
) -> None:
    for model in ("small", "large"):
        accept(store, settings, model_id=model)

    assert taken(store, pool(settings, "few", "small"), "large") == "small"


def test_a_bell_is_rung_where_the_job_is_served(store: Ledger, settings: Settings) -> None:
    few, all_models = pool(settings, "few", "small"), pool(settings, "all")
    beat(store, few)

    assert store.run(accepting(settings, model_id="large")).bells == ()
    assert store.run(accepting(settings, model_id="small")).bells == (gpu_queue("few"),)
    beat(store, all_models)
    assert set(store.run(ledger.sweep(settings)).bells) == {gpu_queue("few"), gpu_queue("all")}
    assert taken(store, few) == "small"
    assert store.run(ledger.sweep(settings)).bells == (gpu_queue("all"),)


def test_a_pool_is_forgotten_when_its_last_worker_is_gone(store: Ledger, settings: Settings) -> None:
    beat(store, pool(settings.model_copy(update={"lease_s": 0.001}), "gone"))
    beat(store, pool(settings, "there"))
    accept(store, settings)

    wait_until(lambda: store.run(ledger.sweep(settings)).bells == (gpu_queue("there"),))


def test_a_suspect_holds_up_no_pool_that_does_not_serve_it(store: Ledger, settings: Settings) -> None:
    vanishing = settings.model_copy(update={"lease_s": 0.0, "max_attempts": 2})
    accept(store, settings, model_id="large")
    claim(store, vanishing)
    store.run(ledger.sweep(vanishing))
    accept(store, settings, model_id="small")
    busy = ledger.claim("busy", "t", pool(settings, "few", "small"), (), is_idle=False)

    found = store.run(busy)
    assert found
    assert found.spec.model_id == "small"
    with pytest.raises(MakesWay):
        store.run(ledger.claim("other", "t", pool(settings, "all"), (), is_idle=False))
    assert taken(store, pool(settings, "many", "large", "small")) == "large"


def test_each_pool_makes_way_for_a_suspect_of_its_own(store: Ledger, settings: Settings) -> None:
    vanishing = settings.model_copy(update={"lease_s": 0.0, "max_attempts": 2})
    for model in ("large", "small"):
        accept(store, settings, model_id=model)
        claim(store, vanishing)
    store.run(ledger.sweep(vanishing))

    for name, model in (("few", "small"), ("many", "large")):
        with pytest.raises(MakesWay):
            store.run(ledger.claim(f"of {name}", "t", pool(settings, name, model), (), is_idle=False))


def test_a_model_that_a_pool_serves_by_name_is_loaded_there(store: Ledger, settings: Settings) -> None:
    few, many = pool(settings, "few", "small"), pool(settings, "many", "large")
    beat(store, few)
    beat(store, many)
    for model in ("large", "small", "nobody's"):
        accept_load(store, settings, model)

    assert loaded(store, pool(settings, "all")) == "nobody's"
    assert store.run(ledger.census()).loads_waiting == 2
    assert loaded(store, few) == "small"
    assert loaded(store, few) is None
    assert loaded(store, many) == "large"


def test_a_model_that_a_pool_serves_by_name_waits_for_it_while_none_of_its_workers_is_there(
    store: Ledger, settings: Settings
) -> None:
    few = pool(settings.model_copy(update={"lease_s": 0.001}), "few", "small")
    beat(store, few)
    accept_load(store, settings, "small")
    wait_until(lambda: store.run(ledger.workers()) == 0)
    store.run(ledger.sweep(settings))

    assert loaded(store, pool(settings, "all")) is None
    beat(store, pool(settings, "few", "other"))
    assert loaded(store, pool(settings, "all")) == "small", "it serves another now"


def test_a_worker_that_has_ended_is_not_waited_for(store: Ledger, settings: Settings) -> None:
    beat(store, settings, "one")
    beat(store, settings, "two")

    store.run(ledger.worker_ends("one"))

    assert store.run(ledger.stats()).workers == ("two",)
    assert store.run(ledger.workers()) == 1


Values = dict[str, dict[tuple[tuple[str, str], ...], float]]


def exposed(store: Ledger) -> Values:
    text = Metrics().render(store.run(ledger.census())).decode()
    values: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return values


def of(values: Values, name: str, **labels: str) -> float:
    return values[name][tuple(sorted(labels.items()))]


def test_metrics_tell_what_waits_for_whom(store: Ledger, settings: Settings) -> None:
    few, many = pool(settings, "few", "small"), pool(settings, "many", "small", "large")
    gold = make_key("gold", weight=2)
    for model in ("small", "small", "small", "large", "lost"):
        accept(store, settings, model_id=model)
    accept(store, settings, gold, model_id="large")
    claimed = claim(store, few, worker="of few")
    beat(store, few, held=claimed, progress=0.5)
    beat(store, many)
    beat(store, many, "another of many")

    values = exposed(store)

    assert of(values, "printworks_ledger_up") == 1
    assert of(values, "printworks_jobs", state="queued", model="small") == 2
    assert of(values, "printworks_jobs", state="running", model="small") == 1
    assert of(values, "printworks_unserved_jobs") == 1
    assert of(values, "printworks_oldest_queued_seconds") >= 0
    assert of(values, "printworks_workers", pool="many") == 2
    assert of(values, "printworks_slots", pool="many") == 2 * settings.slots
    assert of(values, "printworks_pool_jobs", pool="few", state="queued") == 2
    assert of(values, "printworks_pool_jobs", pool="few", state="running") == 1
    assert of(values, "printworks_pool_jobs", pool="many", state="queued") == 4
    assert of(values, "printworks_pool_jobs", pool="many", state="running") == 0
    small = of(values, "printworks_backlog_gpu_seconds", model="small")
    large = of(values, "printworks_backlog_gpu_seconds", model="large")
    assert small == pytest.approx(large / 2 * 2.5), "one of three is half done"
    assert of(values, "printworks_pool_wait_seconds", pool="few") == pytest.approx(small)
    assert of(values, "printworks_pool_wait_seconds", pool="many") == pytest.approx((small + large) / 2)
    assert of(values, "printworks_key_class_jobs", weight="1") == 5
    assert of(values, "printworks_key_class_jobs", weight="2") == 1
    ratio = of(values, "printworks_key_class_wait_seconds", weight="1") / of(
        values, "printworks_key_class_wait_seconds", weight="2"
    )
    assert ratio == pytest.approx(6 / 1.5), (
        "all six are before its next, or its one at two thirds of the pace"
    )


def test_the_cluster_s_metrics_are_those_that_queries_may_name(store: Ledger, settings: Settings) -> None:
    accept(store, settings)
    beat(store, settings)

    labels: dict[str, set[str]] = {}
    for name, series in exposed(store).items():
        if not name.startswith("printworks_") or name in OF_ALL:
            continue
        for pairs in series:
            labels.setdefault(name, set()).update(label for label, _ in pairs)

    assert labels == LEDGER


def test_metrics_count_what_has_ended_and_the_leases_that_expired(store: Ledger, settings: Settings) -> None:
    vanishing = settings.model_copy(update={"lease_s": 0.0})
    job_id = accept(store, settings)
    claim(store, vanishing)
    store.run(ledger.sweep(settings))
    store.run(ledger.finish(job_id, claim(store, settings).token, JobState.FAILED, Outcome()))

    values = exposed(store)

    assert of(values, "printworks_leases_expired_total") == 1
    assert of(values, "printworks_jobs_ended_total", state="failed") == 1
    assert of(values, "printworks_jobs_ended_total", state="succeeded") == 0


def test_without_a_ledger_metrics_say_so_and_nothing_old() -> None:
    text = Metrics().render(None).decode()

    assert "printworks_ledger_up 0.0" in text
    assert "printworks_jobs{" not in text


def test_a_real_worker_follows_the_bells_of_its_pool_and_takes_what_that_serves(
    store: Ledger, settings: Settings, bell: Bell, tiny_model: Path, tmp_path: Path
) -> None:
    file = write_models_file(tmp_path / "models.yaml", models={"small": tiny_model, "large": tiny_model})
    few = pool(settings.model_copy(update={"models_file": file, "slots": 2}), "few", "small")

    with running_worker(few, tmp_path / "worker.log"):
        job_ids = {}
        for model in ("large", "small"):
            accepted = store.run(
                ledger.accept(make_spec(model_id=model), make_key(), few, idempotency_key=None, digest="")
            )
            bell.ring(accepted.bells)
            job_ids[model] = accepted.job_id
        wait_until(lambda: store.run(ledger.read(job_ids["small"], None)).state.is_terminal, within_s=30)

        assert store.run(ledger.read(job_ids["large"], None)).state is JobState.QUEUED
        (facts,) = store.run(ledger.census()).workers
        assert (facts.pool, sorted(facts.serves), facts.slots) == ("few", ["small"], 2)
        assert facts.models == ("small",), "the other is not preloaded"
