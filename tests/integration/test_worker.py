"""The GPU worker: a real Celery process on a tiny model, driven by the ledger alone."""

import base64
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import numpy as np
import psutil
import pytest
import redis

from deploy import commands
from shared import ledger
from shared.broker import Bell, gpu_queue, make_celery
from shared.jobs import Job, JobState
from shared.ledger import Ledger
from shared.seeding import seed_registry
from shared.settings import Settings
from shared.storage import FolderStorage
from shared.version import VERSION
from tests.support import tiny
from tests.support.jobs import accept_load, accepting, make_unreadable
from tests.support.models import pin_everything, write_models_file
from tests.support.pictures import read_picture
from tests.support.processes import forked, running_worker
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_stable_diffusion(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def settings(settings: Settings, tiny_model: Path, tmp_path: Path) -> Settings:
    file = write_models_file(tmp_path / "models.yaml", models={"demo": tiny_model})
    return settings.model_copy(update={"models_file": file, "slots": 3, "drain_s": 0.5})


@pytest.fixture
def bell(settings: Settings) -> Iterator[Bell]:
    bell = Bell(make_celery(settings.redis_url, "tests"))
    yield bell
    bell.close()


def submit(store: Ledger, settings: Settings, bell: Bell, **spec: Any) -> int:
    pins = pin_everything(seed_registry(store, settings))
    accepted = store.run(accepting(settings, **({"pins": pins} | spec)))
    bell.ring([gpu_queue(settings.pool)])
    return accepted.job_id


def ended(store: Ledger, job_id: int) -> Job:
    """The job when it has ended."""
    wait_until(lambda: store.run(ledger.read(job_id, None)).state.is_terminal, within_s=30)
    return store.run(ledger.read(job_id, None))


def test_one_bell_wakes_enough_slots_for_all_the_work(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    jobs = [submit(store, settings, bell, steps=2 + i % 4, samples=1 + i % 2) for i in range(20)]

    with running_worker(settings, tmp_path / "worker.log"):
        finished = [ended(store, job_id) for job_id in jobs]

    storage = FolderStorage(settings.data_dir, settings.temp_life_s)
    for job in finished:
        assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
        for name in job.spec.file_names:
            path = storage.find(name)
            assert path is not None
            assert path.read_bytes().startswith(b"\x89PNG")
            assert read_picture(path).size == (64, 64)
    assert finished[0].outcome is not None
    assert finished[0].outcome.revision == "fp32"


def test_a_base64_job_stores_text_of_the_same_picture(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    with running_worker(settings, tmp_path / "worker.log"):
        plain = ended(store, submit(store, settings, bell, seed=5))
        encoded = ended(store, submit(store, settings, bell, seed=5, base64=True))

    storage = FolderStorage(settings.data_dir, settings.temp_life_s)
    paths = [storage.find(job.spec.file_names[0]) for job in (plain, encoded)]
    assert paths[0] is not None
    assert paths[1] is not None
    png = base64.b64decode(paths[1].read_text(), validate=True)
    assert read_picture(png).tobytes() == read_picture(paths[0]).tobytes()


def test_the_second_picture_of_a_job_is_the_first_of_the_next_seed(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    with running_worker(settings, tmp_path / "worker.log"):
        pair = ended(store, submit(store, settings, bell, seed=5, samples=2))
        single = ended(store, submit(store, settings, bell, seed=6))

    folder = settings.data_dir / "generations"
    second, alone = (folder / name for name in (pair.spec.file_names[1], single.spec.file_names[0]))
    apart = np.abs(np.asarray(read_picture(second), int) - np.asarray(read_picture(alone), int))
    assert apart.max() <= 1


def test_a_running_job_can_be_cancelled_at_its_next_step(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    eager = settings.model_copy(update={"beat_s": 0.1})
    with running_worker(eager, tmp_path / "worker.log"):
        job_id = submit(store, settings, bell, steps=5000, width=256, height=256)
        wait_until(lambda: store.run(ledger.read(job_id, None)).progress > 0, within_s=30)

        store.run(ledger.cancel(job_id, "tenant"))

        assert ended(store, job_id).state is JobState.CANCELLED


def test_sigterm_gives_back_what_cannot_be_finished_and_counts_no_attempt(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    with running_worker(settings, tmp_path / "worker.log") as worker:
        job_id = submit(store, settings, bell, steps=5000, width=256, height=256)
        wait_until(lambda: store.run(ledger.read(job_id, None)).progress > 0, within_s=30)

        worker.send_signal(signal.SIGTERM)

        assert worker.wait(15) == 0
    job = store.run(ledger.read(job_id, None))
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


def test_progress_is_told_between_beats(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    slow_beat = settings.model_copy(update={"beat_s": 100.0, "lease_s": 300.0})
    with running_worker(slow_beat, tmp_path / "worker.log"):
        job_id = submit(store, slow_beat, bell, steps=5000, width=256, height=256)
        progress: list[float] = [0.0]

        def has_moved() -> bool:
            progress.append(store.run(ledger.read(job_id, None)).progress)
            return progress[-1] > progress[-2]

        wait_until(has_moved, within_s=30)
        wait_until(has_moved, within_s=30)

        store.run(ledger.cancel(job_id, "tenant"))


def test_a_deterministic_job_has_the_same_bytes_alone_under_load_and_after_a_restart(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    wanted = {"deterministic": True, "samples": 2, "steps": 6, "seed": 5}
    with running_worker(settings, tmp_path / "worker.log"):
        alone = ended(store, submit(store, settings, bell, **wanted))
        crowd = [submit(store, settings, bell, steps=20, seed=seed) for seed in range(4)]
        under_load = [ended(store, submit(store, settings, bell, **wanted)) for _ in range(2)]
        for job_id in crowd:
            ended(store, job_id)
    with running_worker(settings, tmp_path / "restarted.log"):
        restarted = ended(store, submit(store, settings, bell, **wanted))

    digests = {digest_of(job, settings) for job in (alone, *under_load, restarted)}
    assert len(digests) == 1


def digest_of(job: Job, settings: Settings) -> str:
    folder = settings.data_dir / "generations"
    assert job.state is JobState.SUCCEEDED
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in job.spec.file_names)).hexdigest()


def test_the_worker_answers_remote_control_while_it_is_busy(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    app: celery.Celery = make_celery(settings.redis_url, "tests")
    with running_worker(settings, tmp_path / "worker.log"):
        job_id = submit(store, settings, bell, steps=5000, width=256, height=256)
        wait_until(lambda: store.run(ledger.read(job_id, None)).progress > 0, within_s=30)

        (answer,) = app.control.ping(timeout=3, limit=1)

        assert [*answer.values()] == [{"ok": "pong"}]


def test_a_model_that_cannot_be_read_ends_the_worker_with_a_reason(
    settings: Settings, tmp_path: Path
) -> None:
    broken = settings.model_copy(
        update={"models_file": write_models_file(tmp_path / "broken.yaml", models={"demo": tmp_path})}
    )
    log = tmp_path / "worker.log"

    with forked(commands.gpu_worker(0, 1, broken.pool), broken, log) as worker:
        assert worker.wait(60) == os.EX_SOFTWARE

    assert "Model demo can't be loaded" in log.read_text()


HANG = """
import dataclasses, threading
from tests.support import tiny
from tests.support.painting import request, running_engine, submit
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.painting import Kit
from worker.gpu.watchdog import Watchdog
from worker.process import end_process

class Hanging:
    def __init__(self, unet): self.config = unet.config
    def __call__(self, *args, **options): threading.Event().wait()

model = from_pipeline("tiny", tiny.stable_diffusion())
with running_engine(on_fatal=end_process) as engine:
    Watchdog(engine, 0.5).start()
    submit(engine, Kit.plain(dataclasses.replace(model, unet=Hanging(model.unet))), request()).result()
"""


def test_the_watchdog_ends_a_process_whose_device_hangs() -> None:
    ended_with = subprocess.run([sys.executable, "-c", HANG], timeout=60, capture_output=True, check=False)

    assert ended_with.returncode == os.EX_SOFTWARE


def test_a_full_disk_holds_jobs_up_until_there_is_room_again(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    with running_worker(settings, log) as worker:
        process = psutil.Process(worker.pid)
        _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (50_000, hard))  # the log has room, a picture has not
        waiting = submit(store, settings, bell, width=256, height=256)
        given_up = submit(store, settings, bell, width=256, height=256)
        wait_until(lambda: log.read_text().count("pictures not stored yet") >= 2, within_s=30)
        store.run(ledger.cancel(given_up, "tenant"))
        cancelled = ended(store, given_up)
        assert store.run(ledger.read(waiting, None)).state is JobState.RUNNING
        process.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
        done = ended(store, waiting)

    assert (cancelled.state, done.state) == (JobState.CANCELLED, JobState.SUCCEEDED)
    folder = settings.data_dir / "generations"
    assert [path.name for path in folder.iterdir() if path.is_file()] == list(done.spec.file_names)


def test_a_job_of_a_newer_version_waits_for_newer_workers_and_holds_nobody_up(
    store: Ledger, settings: Settings, bell: Bell, tmp_path: Path
) -> None:
    newer, readable = (submit(store, settings, bell) for _ in range(2))
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        known = make_unreadable(client, newer)

        with running_worker(settings, tmp_path / "worker.log"):
            assert ended(store, readable).state is JobState.SUCCEEDED
        waiting = ("queued", "0", VERSION)
        assert tuple(client.hmget(f"pw:job:{newer}", "state", "attempts", "unreadable")) == waiting

        assert store.run(ledger.claim("old", "t", settings, ())) is None
        client.hset(f"pw:job:{newer}", "spec", known)
        claimed = store.run(ledger.claim("new", "t", settings, (), version="newer"))
    assert claimed is not None
    assert (claimed.job_id, claimed.attempts) == (newer, 1)


def test_a_load_of_a_newer_version_holds_up_no_other(store: Ledger, settings: Settings) -> None:
    newer, readable = (accept_load(store, settings, model) for model in ("newer", "readable"))
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        make_unreadable(client, newer)

    with pytest.raises(ledger.UnreadableClaim) as unreadable:
        store.run(ledger.claim_load("old", "t", settings))
    store.run(ledger.release(newer, unreadable.value.token, unreadable_by=VERSION))

    found = store.run(ledger.claim_load("old", "t", settings))
    assert found is not None
    assert found.job_id == readable
