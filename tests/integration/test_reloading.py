"""Models that are deleted and loaded anew under load: every job gets the one that it was accepted with."""

import contextlib
import dataclasses
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared import ledger
from shared.broker import Bell, make_celery
from shared.errors import Cancelled, EntryGone, GenerationFailed
from shared.jobs import Job, JobState, LoadSpec, LoraUse, ModelSource, Origin
from shared.ledger import Ledger
from shared.registry import Entry, ModelKind, Snapshot, name_of
from shared.seeding import seed_registry
from shared.settings import DEMO, Settings
from tests.support import tiny
from tests.support.installing import Workshop, from_url
from tests.support.jobs import accept, make_key, make_spec
from tests.support.lora_files import diffusers_lora
from tests.support.model_files import FilePage
from tests.support.models import entry_of, installed, write_models_file
from tests.support.pictures import read_picture
from tests.support.processes import running_worker
from tests.support.site import answer, running_site
from tests.support.studio import running_studio
from tests.support.waiting import wait_until
from worker.gpu.installing import Effort
from worker.gpu.models.catalogue import Catalogue
from worker.gpu.models.precision import Precision
from worker.gpu.models.registered import Current, Files

JOBS = 40
SEED = 5
FIELDS: dict[str, Any] = {
    "seed": SEED,
    "deterministic": True,
    "steps": 3,
    "loras": (LoraUse(lora_id="style", strength=1.0),),
}


@dataclasses.dataclass(frozen=True)
class Versions:
    """What the ids `demo` and `style` mean in turn, and the picture that each pair makes."""

    checkpoints: list[Path]
    loras: list[Path]
    pictures: dict[tuple[Path, Path], bytes]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    folder = tmp_path_factory.mktemp("versions")
    checkpoints, loras = [], []
    for seed in range(2):
        pipeline = tiny.stable_diffusion(seed)
        pipeline.save_pretrained(folder / f"model-{seed}", safe_serialization=True)
        checkpoints.append(folder / f"model-{seed}")
        loras.append(diffusers_lora(folder / f"lora-{seed}.safetensors", pipeline.unet, seed=seed))
    pictures = {}
    for checkpoint in checkpoints:
        for lora in loras:
            with running_studio(models={"demo": checkpoint}, loras={"style": lora}) as studio:
                made = studio.make(make_spec(**FIELDS))
                pictures[checkpoint, lora] = made.pictures[0].tobytes()
    assert len(set(pictures.values())) == 4
    return Versions(checkpoints, loras, pictures)


@pytest.fixture
def busy(settings: Settings, versions: Versions, tmp_path: Path) -> Settings:
    file = write_models_file(
        tmp_path / "models.yaml",
        models={"demo": versions.checkpoints[0]},
        loras={"style": versions.loras[0]},
    )
    return settings.model_copy(update={"models_file": file, "slots": 4})


@pytest.fixture
def bell(settings: Settings) -> Iterator[Bell]:
    bell = Bell(make_celery(settings.redis_url, "tests"))
    yield bell
    bell.close()


def registered_anew(store: Ledger, settings: Settings, kind: ModelKind, model_id: str, path: Path) -> None:
    """As a load does it, without its download."""
    source = ModelSource(origin=Origin.PATH, shown=str(path))
    spec = LoadSpec(
        model_id=model_id, model_kind=kind, source=source, file_prefix=str(uuid.uuid4()), public_url=""
    )
    store.run(ledger.accept(spec, make_key(), settings, idempotency_key=None, digest=""))
    claim = store.run(ledger.claim_load("test", "token", settings))
    if claim is not None:  # else the worker's own loader was faster, and fails it: there is no such path
        store.run(ledger.register(entry_of(kind, model_id, path), claim, seeded=False))


def submitted(store: Ledger, settings: Settings, snapshot: Snapshot, bell: Bell) -> int:
    wanted = ((ModelKind.CHECKPOINT, "demo"), (ModelKind.LORA, "style"))
    pins = {name_of(*each): snapshot.names[name_of(*each)] for each in wanted}
    bell.ring(["gpu.default"])
    return accept(store, settings, pins=pins, **FIELDS)


def test_a_job_is_made_with_the_models_that_it_was_accepted_with(
    store: Ledger, busy: Settings, versions: Versions, bell: Bell, tmp_path: Path
) -> None:
    seed_registry(store, busy)
    entries: dict[str, Entry] = {}
    jobs: list[int] = []
    over = threading.Event()

    def keep_changing() -> None:
        turn = 0
        while not over.wait(0.05):
            turn += 1
            kind, model_id, paths = (
                (ModelKind.CHECKPOINT, "demo", versions.checkpoints),
                (ModelKind.LORA, "style", versions.loras),
            )[turn % 2]
            registered_anew(store, busy, kind, model_id, paths[turn // 2 % 2])

    with running_worker(busy, tmp_path / "worker.log"):
        changing = threading.Thread(target=keep_changing)
        changing.start()
        try:
            while len(jobs) < JOBS:
                snapshot = store.run(ledger.registry(None))
                entries |= snapshot.entries
                with contextlib.suppress(EntryGone):  # changed just now: gateways look again too
                    jobs.append(submitted(store, busy, snapshot, bell))
                wait_until(lambda: store.run(ledger.stats()).queued < 8, within_s=60)
            done = [_ended(store, job_id) for job_id in jobs]
        finally:
            over.set()
            changing.join()

    for job in done:
        assert job.state is JobState.SUCCEEDED, job.outcome
        pair = tuple(Path(entries[entry_id].path) for entry_id in job.spec.pins.values())
        stored = read_picture(busy.data_dir / "generations" / job.spec.file_names[0])
        assert stored.tobytes() == versions.pictures[pair[0], pair[1]]
    assert len({tuple(job.spec.pins.values()) for job in done}) >= 4
    left = store.run(ledger.registry(None))
    assert set(left.entries) == set(left.names.values())


def _ended(store: Ledger, job_id: int) -> Job:
    def look() -> Job | None:
        job = store.run(ledger.read(job_id, None))
        return job if job.state.is_terminal else None

    return wait_until(look, within_s=90)


def test_a_machine_that_lacks_a_models_files_fetches_them_once_when_jobs_need_them(
    versions: Versions, tmp_path: Path
) -> None:
    first, second = Workshop(tmp_path / "first"), Workshop(tmp_path / "second")
    lora = versions.loras[0].read_bytes()
    with running_site({"/style.safetensors": answer(lora)}) as site:
        spec = from_url(ModelKind.LORA, f"{site.url}/style.safetensors")
        entry = first.install(spec).model_copy(update={"recipe": spec.model_dump_json()})
        assert len(site.requests) == 1
        files = Files(second.installer)

        with ThreadPoolExecutor(8) as pool:
            places = list(pool.map(files.place, [entry] * 8))

        assert len(site.requests) == 2
    assert {place.path for place in places} == {second.installer.place_of(entry)}
    assert places[0].path.read_bytes() == lora


def test_files_that_can_not_be_had_again_fail_the_job_with_a_sentence(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    spec = from_url(ModelKind.LORA, "http://127.0.0.1:9/gone.safetensors")
    entry = entry_of(ModelKind.LORA, "gone", "unused").model_copy(
        update={"path": "gone.safetensors", "recipe": spec.model_dump_json()}
    )

    with pytest.raises(GenerationFailed, match="can't be reached"):
        Files(workshop.installer).place(entry)


def test_files_that_changed_at_their_source_are_not_taken_for_what_was_registered(
    versions: Versions, tmp_path: Path
) -> None:
    first, second = Workshop(tmp_path / "first"), Workshop(tmp_path / "second")
    pages = {"/style.safetensors": answer(versions.loras[0].read_bytes())}
    with running_site(pages) as site:
        spec = from_url(ModelKind.LORA, f"{site.url}/style.safetensors")
        entry = first.install(spec).model_copy(update={"recipe": spec.model_dump_json()})
        pages["/style.safetensors"] = answer(versions.loras[1].read_bytes())

        with pytest.raises(GenerationFailed, match="has changed at its source"):
            Files(second.installer).place(entry)

    assert second.files == []


def test_a_fetch_for_a_job_is_watched_and_can_be_ended(versions: Versions, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    page = FilePage(versions.loras[0].read_bytes(), holds_after=100)
    with running_site({"/style.safetensors": page}) as site, ThreadPoolExecutor() as pool:
        spec = from_url(ModelKind.LORA, f"{site.url}/style.safetensors")
        entry = entry_of(ModelKind.LORA, "style", "unused").model_copy(
            update={"path": "style.safetensors", "recipe": spec.model_dump_json()}
        )
        efforts: list[Effort] = []
        placing = pool.submit(Files(workshop.installer).place, entry, efforts.append)
        wait_until(lambda: page.sent and page.sent[0] >= 100)

        efforts[0].cancel()

        with pytest.raises(Cancelled):
            placing.result(10)


def test_a_film_is_made_with_the_motion_adapter_that_its_job_pinned() -> None:
    settings, precision = Settings(), Precision.choose("cpu", "fp32")
    keys = {
        Catalogue(settings, precision, installed(motion_adapter=DEMO / "motion")).video("demo").key
        for _ in range(2)  # each time an entry of its own
    }

    assert len(keys) == 2


def test_only_what_lies_on_this_machine_is_loaded_at_the_start(tmp_path: Path) -> None:
    here = entry_of(ModelKind.CHECKPOINT, "here", DEMO / "model")
    away = here.model_copy(update={"model_id": "away", "entry_id": str(uuid.uuid4()), "path": "model"})
    snapshot = Snapshot(
        names={"checkpoint:here": here.entry_id, "checkpoint:away": away.entry_id},
        entries={entry.entry_id: entry for entry in (here, away)},
    )

    places = Current(snapshot, Files(Workshop(tmp_path).installer)).here(ModelKind.CHECKPOINT)

    assert [place.entry.model_id for place in places] == ["here"]
