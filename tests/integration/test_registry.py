"""The registry in a real ledger: what is registered, what jobs pin, what goes when."""

import hashlib
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import yaml

from shared import ledger
from shared.errors import EntryGone, Misconfigured, TooManyJobs
from shared.jobs import JobState, LoadSpec, Outcome
from shared.ledger import Ledger, Registered
from shared.registry import ModelKind, Snapshot, name_of
from shared.registry.file import read_models
from shared.registry.reading import Registry
from shared.seeding import seed_registry
from shared.settings import DEMO, Settings
from tests.support.jobs import accept, make_key, make_spec
from tests.support.models import entry_of, ids_of

PROJECT = Path(__file__).resolve().parents[2]
Models = Callable[..., Settings]
"""Writes models.yaml and gives the settings that name it."""

DEMO_NAMES = {
    *("checkpoint:demo", "lora:demo-floor", "lora:demo-frame", "embedding:demo-sunset"),
    *("controlnet:demo-canny", "upscaler:demo-swin2sr", "motion:demo-motion"),
}


@pytest.fixture
def models(settings: Settings, tmp_path: Path) -> Models:
    def write(*lines: dict[str, str]) -> Settings:
        file = tmp_path / "models.yaml"
        file.write_text(yaml.safe_dump({"models": list(lines)}))
        return settings.model_copy(update={"models_file": file, "secret_key": None})

    return write


def checkpoint(model_id: str, path: str = "model") -> dict[str, str]:
    return {"kind": "checkpoint", "id": model_id, "path": str(DEMO / path)}


def accept_pinned(store: Ledger, settings: Settings, model: str, snapshot: Snapshot) -> tuple[int, str]:
    """A job that pins the model, and the entry that it pinned."""
    entry = snapshot.find(ModelKind.CHECKPOINT, model)
    assert entry is not None
    pins = {name_of(entry.kind, model): entry.entry_id}
    return accept(store, settings, model_id=model, pins=pins), entry.entry_id


def finish_one(store: Ledger, settings: Settings) -> None:
    claim = store.run(ledger.claim("worker", "token", settings, ()))
    assert claim is not None
    store.run(ledger.finish(claim.job_id, "token", JobState.SUCCEEDED, Outcome()))


def look(store: Ledger) -> Snapshot:
    return store.run(ledger.registry(None))


def test_the_demo_file_seeds_the_demo_model_and_its_companions(store: Ledger, settings: Settings) -> None:
    snapshot = seed_registry(store, settings)

    assert set(snapshot.names) == DEMO_NAMES
    assert ids_of(snapshot, ModelKind.LORA) == ("demo-floor", "demo-frame")
    demo = snapshot.find(ModelKind.CHECKPOINT, "demo")
    assert demo is not None
    assert demo.place(settings.models_folder) == DEMO / "model"
    assert (demo.bytes > 1_000_000, demo.format) == (True, "diffusers")
    floor = snapshot.find(ModelKind.LORA, "demo-floor")
    assert floor is not None
    content = (DEMO / "loras" / "floor.safetensors").read_bytes()
    assert (floor.sha256, floor.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert floor.format == "safetensors"


def test_an_empty_file_seeds_nothing(store: Ledger, models: Models, tmp_path: Path) -> None:
    assert seed_registry(store, models()).names == {}
    (tmp_path / "models.yaml").write_text("")
    assert seed_registry(store, models()).names == {}


def test_seeding_again_changes_nothing(store: Ledger, settings: Settings) -> None:
    first = seed_registry(store, settings)

    assert seed_registry(store, settings) == first


def test_a_changed_file_adds_replaces_and_removes(store: Ledger, models: Models) -> None:
    before = seed_registry(store, models(checkpoint("kept"), checkpoint("changed"), checkpoint("left")))

    after = seed_registry(
        store, models(checkpoint("kept"), checkpoint("changed", "motion"), checkpoint("new"))
    )

    assert set(ids_of(after, ModelKind.CHECKPOINT)) == {"kept", "changed", "new"}
    assert after.names["checkpoint:kept"] == before.names["checkpoint:kept"]
    assert after.names["checkpoint:changed"] != before.names["checkpoint:changed"]
    assert after.dropped == {before.names["checkpoint:changed"], before.names["checkpoint:left"]}


def test_what_was_deleted_or_replaced_since_stays_so_until_its_line_changes(
    store: Ledger, models: Models
) -> None:
    settings = models(checkpoint("one"), checkpoint("two"))
    seed_registry(store, settings)
    store.run(ledger.unregister(["checkpoint:one"]))

    assert ids_of(seed_registry(store, settings), ModelKind.CHECKPOINT) == ("two",)
    changed = models(checkpoint("one", "motion"), checkpoint("two"))
    assert ids_of(seed_registry(store, changed), ModelKind.CHECKPOINT) == ("one", "two")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("models: [{kind: checkpoint, id: x}]", "exactly one of path, hub and url"),
        ("models: [{kind: model, id: x, path: y}]", "models.0.kind"),
        ("models: [{kind: lora, id: ../x, path: y}]", "models.0.id"),
        ("models: [{kind: lora, id: x, path: y, sha: 1}]", "models.0.sha"),
        ("models: [{kind: lora, id: x, url: 'ftp://y'}]", "models.0.url"),
        ("models: [{kind: lora, id: x, path: y}, {kind: lora, id: x, hub: a/b}]", "lora:x is there twice"),
        ("models: [{kind: ip_adapter, id: mine, hub: a/b}]", "must be one of ip-adapter_sdxl"),
        ("models: {", "can't be read"),
        ("other: []", "other"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(content)

    with pytest.raises(Misconfigured) as refusal:
        read_models(file)
    assert sentence in refusal.value.detail


def test_the_file_that_the_documentation_shows_can_be_read(tmp_path: Path) -> None:
    shown = re.search(r"```yaml\n(.*?)```", (PROJECT / "docs" / "OPERATIONS.md").read_text(), re.DOTALL)
    assert shown
    file = tmp_path / "models.yaml"
    file.write_text(shown.group(1))

    assert [model.name for model in read_models(file)] == [
        *("checkpoint:my-model", "checkpoint:sdxl", "lora:my-style", "safety:checker")
    ]


def test_every_kind_of_model_is_documented() -> None:
    page = (PROJECT / "docs" / "OPERATIONS.md").read_text()
    assert [kind for kind in ModelKind if f"`{kind}`" not in page] == []


def test_a_hub_or_a_url_in_the_file_is_loaded_once_whoever_reads_it(store: Ledger, models: Models) -> None:
    settings = models(
        {"kind": "checkpoint", "id": "far", "hub": "owner/name"},
        {"kind": "lora", "id": "style", "url": "https://models.test/style.safetensors"},
    )
    for _ in range(3):
        assert seed_registry(store, settings).names == {}

    loads = [store.run(ledger.claim_load("worker", f"token-{i}", settings)) for i in range(3)]
    specs = [claim.spec for claim in loads if claim is not None]
    assert [spec.model_id for spec in specs] == ["far", "style"]
    assert all(isinstance(spec, LoadSpec) and spec.seeded for spec in specs)


def test_a_load_of_the_file_that_failed_is_tried_again_at_the_next_reading(
    store: Ledger, models: Models
) -> None:
    settings = models({"kind": "checkpoint", "id": "far", "hub": "owner/name"})
    seed_registry(store, settings)
    first = store.run(ledger.claim_load("worker", "token", settings))
    assert first is not None
    store.run(ledger.finish(first.job_id, "token", JobState.FAILED, Outcome(reason="The hub is away.")))

    seed_registry(store, settings)

    again = store.run(ledger.claim_load("worker", "token", settings))
    assert again is not None
    assert again.spec.file_prefix == first.spec.file_prefix


def test_a_token_in_a_url_of_the_file_needs_a_key_to_seal_it(store: Ledger, models: Models) -> None:
    settings = models({"kind": "lora", "id": "style", "url": "https://models.test/style?token=abc"})

    with pytest.raises(Exception, match="PRINTWORKS_SECRET_KEY"):
        seed_registry(store, settings)


def test_a_deleted_model_stays_for_the_jobs_that_have_it(
    store: Ledger, settings: Settings, models: Models
) -> None:
    snapshot = seed_registry(store, models(checkpoint("one")))
    _, entry = accept_pinned(store, settings, "one", snapshot)
    _, same = accept_pinned(store, settings, "one", snapshot)
    assert same == entry

    store.run(ledger.unregister(["checkpoint:one"]))
    assert ids_of(look(store), ModelKind.CHECKPOINT) == ()
    assert entry in look(store).entries
    finish_one(store, settings)
    assert entry in look(store).entries
    finish_one(store, settings)

    assert entry not in look(store).entries
    assert look(store).dropped == {entry}


def test_a_model_that_nobody_uses_goes_at_once(store: Ledger, models: Models) -> None:
    entry = seed_registry(store, models(checkpoint("one"))).names["checkpoint:one"]

    store.run(ledger.unregister(["checkpoint:one"]))

    assert look(store).dropped == {entry}


def test_a_job_that_would_use_what_has_just_gone_is_not_accepted(
    store: Ledger, settings: Settings, models: Models
) -> None:
    snapshot = seed_registry(store, models(checkpoint("one")))
    store.run(ledger.unregister(["checkpoint:one"]))

    with pytest.raises(EntryGone):
        accept_pinned(store, settings, "one", snapshot)
    assert store.run(ledger.stats()).queued == 0


def load_spec(model_id: str = "loaded") -> LoadSpec:
    source = {"origin": "hub", "shown": "owner/name"}
    return LoadSpec.model_validate(
        {
            "model_id": model_id,
            "model_kind": "checkpoint",
            "source": source,
            "file_prefix": str(uuid.uuid4()),
            "public_url": "http://printworks.test",
        }
    )


def test_a_load_is_no_slots_work_and_rings_no_bell(store: Ledger, settings: Settings) -> None:
    accepted = store.run(ledger.accept(load_spec(), make_key(), settings, idempotency_key=None, digest=""))

    assert not accepted.bells
    assert store.run(ledger.stats()).queued == 0
    assert store.run(ledger.claim("worker", "token", settings, ())) is None
    claim = store.run(ledger.claim_load("worker", "token", settings))
    assert claim is not None
    assert claim.job_id == accepted.job_id
    assert store.run(ledger.claim_load("worker", "other", settings)) is None


def test_a_load_whose_worker_vanished_is_taken_by_another_and_registers_once(
    store: Ledger, settings: Settings
) -> None:
    hasty = settings.model_copy(update={"lease_s": 0.001})
    store.run(ledger.accept(load_spec(), make_key(), settings, idempotency_key=None, digest=""))
    lost = store.run(ledger.claim_load("first", "old", hasty))
    assert lost is not None
    while not store.run(ledger.sweep(settings)).requeued:
        pass
    claim = store.run(ledger.claim_load("second", "new", settings))
    assert claim is not None
    entry = entry_of(ModelKind.CHECKPOINT, "loaded", DEMO / "model")

    assert store.run(ledger.register(entry, lost, seeded=False)) is Registered.LOST
    assert look(store).names == {}
    assert store.run(ledger.register(entry, claim, seeded=False)) is Registered.YES
    assert store.run(ledger.register(entry, claim, seeded=False)) is Registered.YES
    assert look(store).find(ModelKind.CHECKPOINT, "loaded") == entry


def test_a_model_that_is_loaded_anew_serves_new_jobs_only(
    store: Ledger, settings: Settings, models: Models
) -> None:
    snapshot = seed_registry(store, models(checkpoint("one")))
    _, old = accept_pinned(store, settings, "one", snapshot)
    store.run(ledger.accept(load_spec("one"), make_key(), settings, idempotency_key=None, digest=""))
    claim = store.run(ledger.claim_load("worker", "token", settings))
    assert claim is not None
    entry = entry_of(ModelKind.CHECKPOINT, "one", DEMO / "model")
    store.run(ledger.register(entry, claim, seeded=False))

    now = look(store)
    assert now.find(ModelKind.CHECKPOINT, "one") == entry
    assert {old, entry.entry_id} <= set(now.entries)
    finish_one(store, settings)
    assert look(store).dropped == {old}


def test_a_reader_sees_changes_and_reads_nothing_that_it_has(store: Ledger, models: Models) -> None:
    seed_registry(store, models(checkpoint("one")))
    registry = Registry(store)
    first = registry.look()

    assert registry.look() is first
    store.run(ledger.unregister(["checkpoint:one"]))
    assert registry.look().names == {}


def test_a_sealed_target_is_kept_beside_models_and_jobs_hold_it_too(
    store: Ledger, settings: Settings
) -> None:
    store.run(ledger.register_target("text_to_image", "s3-00000001", "sealed"))
    accept(store, settings, target="s3-00000001")
    store.run(ledger.register_target("text_to_image", "s3-00000002", "other"))

    assert look(store).target("text_to_image") == "s3-00000002"
    assert look(store).targets == {"s3-00000001": "sealed", "s3-00000002": "other"}
    store.run(ledger.unregister(look(store).target_names("text_to_image")))
    assert look(store).target("text_to_image") is None
    assert look(store).targets == {"s3-00000001": "sealed"}
    finish_one(store, settings)
    assert look(store).targets == {}


def test_a_replaced_target_stays_for_its_links_until_all_are_taken_back(
    store: Ledger, settings: Settings
) -> None:
    for entry in ("s3-00000001", "s3-00000002", "s3-00000003"):
        store.run(ledger.register_target("video", entry, f"sealed {entry}"))
    store.run(ledger.register_target("flux", "s3-00000004", "sealed too"))

    assert len(look(store).targets) == 4
    store.run(ledger.unregister(look(store).target_names("video")))
    assert look(store).targets == {"s3-00000004": "sealed too"}


def test_the_load_that_was_asked_for_last_wins_whichever_ends_last(store: Ledger, settings: Settings) -> None:
    claims = [claimed(store, settings, f"token-{i}") for i in range(2)]
    early, late = (entry_of(ModelKind.CHECKPOINT, "loaded", DEMO / "model") for _ in range(2))

    assert store.run(ledger.register(late, claims[1], seeded=False)) is Registered.YES
    assert store.run(ledger.register(early, claims[0], seeded=False)) is Registered.SUPERSEDED

    assert look(store).find(ModelKind.CHECKPOINT, "loaded") == late


def test_a_load_that_was_asked_for_before_a_deletion_does_not_undo_it(
    store: Ledger, settings: Settings
) -> None:
    claim = claimed(store, settings, "token")
    entry = entry_of(ModelKind.CHECKPOINT, "loaded", DEMO / "model")
    store.run(ledger.register(entry, claim, seeded=False))
    store.run(ledger.unregister(["checkpoint:loaded"]))

    assert store.run(ledger.register(entry, claim, seeded=False)) is Registered.SUPERSEDED
    assert look(store).names == {}


def claimed(store: Ledger, settings: Settings, token: str) -> ledger.Claim:
    store.run(ledger.accept(load_spec(), make_key(), settings, idempotency_key=None, digest=""))
    claim = store.run(ledger.claim_load("worker", token, settings))
    assert claim is not None
    return claim


def test_the_order_of_the_file_decides_which_one_is_the_default(store: Ledger, models: Models) -> None:
    seed_registry(store, models(checkpoint("one"), checkpoint("two")))

    turned = seed_registry(store, models(checkpoint("two"), checkpoint("one")))

    assert ids_of(turned, ModelKind.CHECKPOINT) == ("two", "one")
    assert turned.dropped == frozenset()


def test_a_line_that_goes_there_and_back_is_loaded_again(store: Ledger, models: Models) -> None:
    def load(hub: str) -> str:
        settings = models({"kind": "lora", "id": "style", "hub": hub})
        seed_registry(store, settings)
        claim = store.run(ledger.claim_load("worker", "token", settings))
        assert claim is not None
        assert isinstance(claim.spec, LoadSpec)
        entry = entry_of(ModelKind.LORA, "style", hub).model_copy(update={"entry_id": claim.spec.file_prefix})
        assert store.run(ledger.register(entry, claim, seeded=True)) is Registered.YES
        store.run(ledger.finish(claim.job_id, "token", JobState.SUCCEEDED, Outcome()))
        return claim.spec.source.shown

    assert [load(hub) for hub in ("a/one", "b/two", "a/one")] == ["a/one", "b/two", "a/one"]
    assert look(store).all(ModelKind.LORA)[0].source == "a/one"


def test_no_version_of_the_registry_comes_twice_even_if_redis_has_forgotten_some(
    store: Ledger, settings: Settings
) -> None:
    before = seed_registry(store, settings)
    store.run(ledger.unregister(["lora:demo-floor"]))
    known = look(store)
    with redis.Redis.from_url(settings.redis_url) as client:  # as after a crash that lost the last change
        client.set("pw:registry_version", before.version)
        client.decr("pw:changes")
    store.run(ledger.unregister(["lora:demo-frame"]))

    assert look(store).version != known.version


def test_a_worker_that_asks_for_its_turn_again_has_it_still(store: Ledger, settings: Settings) -> None:
    for name in ("one", "two"):
        store.run(ledger.beat(name, ledger.WorkerFacts(), settings, []))

    assert [store.run(ledger.take_turn(name, settings)) for name in ("one", "one", "two")] == [
        *(True, True, False)
    ]


def test_a_load_that_runs_does_not_make_the_wait_look_shorter(store: Ledger, settings: Settings) -> None:
    claimed(store, settings, "load")
    for _ in range(4):
        accept(store, settings)
    claim = store.run(ledger.claim("worker", "token", settings, ()))
    assert claim is not None
    with redis.Redis.from_url(settings.redis_url) as client:
        started = int(client.hget(f"pw:job:{claim.job_id}", "started_ms") or 0)
        client.hset(f"pw:job:{claim.job_id}", "started_ms", started - 1000)
        store.run(ledger.finish(claim.job_id, "token", JobState.SUCCEEDED, Outcome()))
        pace = float(client.get("pw:pace") or 0)

    assert pace * make_spec().cost == pytest.approx(1000, rel=0.1)


def test_a_tenant_has_at_most_as_many_open_jobs_as_its_key_allows(store: Ledger, settings: Settings) -> None:
    key = make_key("small", max_open_jobs=2)
    for _ in range(2):
        accept(store, settings, key)
    with pytest.raises(TooManyJobs, match="Maximum 2 queued requests"):
        accept(store, settings, key)
    finish_one(store, settings)
    accept(store, settings, key)
    assert store.run(ledger.stats()).queued == 2


def test_the_wait_that_is_told_is_about_the_one_that_comes(store: Ledger, settings: Settings) -> None:
    """Ten jobs of equal cost on one worker, which has done half of the first one in a second."""
    for _ in range(10):
        accept(store, settings)
    before_anything_ran = store.run(ledger.census()).wait_s
    assert before_anything_ran > 0
    claim = store.run(ledger.claim("worker", "token", settings, ()))
    assert claim is not None
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        started = int(client.hget(f"pw:job:{claim.job_id}", "started_ms") or 0)
        client.hset(f"pw:job:{claim.job_id}", "started_ms", started - 1000)

    def tell(progress: float) -> None:
        facts = ledger.WorkerFacts(jobs=ledger.held_jobs([(claim.spec, progress)]))
        held = [ledger.Held(claim.job_id, "token", progress)]
        store.run(ledger.beat("worker", facts, settings, held))

    tell(0.5)
    half = store.run(ledger.census()).wait_s
    tell(0.9)
    later = store.run(ledger.census()).wait_s

    assert half == pytest.approx(9.5 * 2, rel=0.1)
    assert later == pytest.approx(half * 9.1 / 9.5, rel=0.01)
