"""A Redis whose master is what Sentinels say: clients of the ledger and Celery follow it when it dies."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import ledger
from shared.broker import make_celery
from shared.errors import LedgerUnavailable, Misconfigured
from shared.jobs import JobState
from shared.ledger import AsyncLedger, Ledger
from shared.redis_servers import Sentinels, broker_of, sentinels_of
from shared.settings import Settings
from tests.support import tiny
from tests.support.jobs import accept, accepting
from tests.support.models import write_models_file
from tests.support.processes import running_dispatcher, running_worker
from tests.support.sentinels import PASSWORD, SENTINEL_PASSWORD, Group, running_group
from tests.support.waiting import wait_until


def test_a_sentinel_url_names_the_group_and_who_may_ask_it() -> None:
    group = sentinels_of("redis+sentinel://me:se%2Fcret@one,two:26380/images/3?sentinel_password=word")

    assert group == Sentinels((("one", 26379), ("two", 26380)), "images", 3, "me", "se/cret", "word")
    assert sentinels_of("redis://127.0.0.1:6379/0") is None
    url, options = broker_of("redis+sentinel://me:se%2Fcret@one,[::1]:26380/images/3")
    assert url == "sentinel://me:se%2Fcret@one:26379/3;sentinel://me:se%2Fcret@[::1]:26380/3"
    assert options["master_name"] == "images"
    with_plus = sentinels_of("redis+sentinel://one/images/0?sentinel_password=a+b%26c")
    assert with_plus is not None
    assert with_plus.sentinel_password == "a+b&c"


def test_who_watches_celery_is_not_shown_the_sentinels_password() -> None:
    group = f"redis+sentinel://:secret@127.0.0.1/images/0?sentinel_password={SENTINEL_PASSWORD}"
    app = make_celery(group, "tests")

    info = app.connection_for_read().info()
    shown = json.dumps({**info, "password": "which Celery leaves out itself"}, default=str)

    assert SENTINEL_PASSWORD not in shown
    assert "secret" not in shown


NO_GROUPS = (
    *("one", "one/", "/images/0", "one:x/images/0", "one,,two/images/0", "one/images/x"),
    *("one/images/0?ssl=true", "one/images/0?sentinel_password=a&ssl=true"),
)


@pytest.mark.parametrize("rest", NO_GROUPS)
def test_a_sentinel_url_that_names_no_group_is_refused_with_an_example(rest: str) -> None:
    with pytest.raises(Misconfigured, match="looks like"):
        sentinels_of(f"redis+sentinel://{rest}")


def test_other_ways_to_sentinels_are_refused_with_an_example() -> None:
    with pytest.raises(Misconfigured, match="looks like"):
        sentinels_of("rediss+sentinel://one/images/0")


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with running_group(tmp_path_factory.mktemp("group")) as group:
        yield group


def test_jobs_go_on_when_the_master_is_killed(group: Group, settings: Settings, tmp_path: Path) -> None:
    file = write_models_file(
        tmp_path / "m.yaml", models={"demo": tiny.save_stable_diffusion(tmp_path / "tiny")}
    )
    settings = settings.model_copy(update={"redis_url": group.url, "models_file": file, "serves": ("demo",)})
    store = Ledger(settings.redis_url)
    logs = tmp_path / "worker.log", tmp_path / "dispatcher.log"

    def made(job_id: int) -> bool:
        try:
            return store.run(ledger.read(job_id, None)).state is JobState.SUCCEEDED
        except LedgerUnavailable:
            return False

    def accepted() -> int | None:
        try:
            return accept(store, settings)
        except LedgerUnavailable:
            return None

    with running_worker(settings, logs[0]), running_dispatcher(settings, logs[1]):
        before = accept(store, settings)
        wait_until(lambda: made(before), within_s=30)
        waiting = accept(store, settings, model_id="of nobody")
        group.kill_master()
        wait_until(group.is_failed_over, within_s=30)
        after = wait_until(accepted, within_s=30)

        wait_until(lambda: after is not None and made(after), within_s=60)

    assert made(before)
    assert store.run(ledger.read(waiting, None)).state is JobState.QUEUED
    assert asyncio.run(_accepted_by_a_gateway(settings)) > after
    store.close()
    said = "".join(log.read_text() for log in logs)
    assert PASSWORD not in said
    assert "p%40ss" not in said
    assert SENTINEL_PASSWORD not in said


async def _accepted_by_a_gateway(settings: Settings) -> int:
    store = AsyncLedger(settings.redis_url)
    many = await asyncio.gather(*(store.run(accepting(settings, model_id="of nobody")) for _ in range(120)))
    await store.close()
    return min(each.job_id for each in many)
