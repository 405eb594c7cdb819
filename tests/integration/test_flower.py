"""flower as a container runs it: open to those who give its password, and what it shows of jobs."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import psutil
import pytest

from deploy.ports import free_port
from shared.broker import GENERATE_TASK, make_celery
from tests.support.processes import running
from tests.support.waiting import wait_until
from worker.task_events import End, TaskEvents

PASSWORD = "a-password-of-the-tests"


@dataclass(frozen=True)
class Flower:
    url: str
    pid: int

    def get(self, path: str, *credentials: str) -> httpx.Response:
        auth = (credentials[0], credentials[1]) if credentials else None
        return httpx.get(f"{self.url}/{path}", auth=auth, timeout=20)

    def task(self, task_id: str) -> dict[str, Any]:
        tasks = self.get("api/tasks", "operator", PASSWORD).json()
        return dict(tasks.get(task_id, {}))


@pytest.fixture(scope="module")
def flower(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    folder, port = tmp_path_factory.mktemp("flower"), free_port()
    environment = {
        "PRINTWORKS_REDIS_URL": module_redis_url,
        "FLOWER_ADDRESS": "0.0.0.0",
        "FLOWER_PORT": str(port),
        "FLOWER_BASIC_AUTH": f"operator:{PASSWORD}",
    }
    command = [sys.executable, "-m", "deploy.process", "flower"]
    with running(command, folder / "log", environment=environment) as process:
        flower = Flower(f"http://127.0.0.1:{port}", process.pid)
        wait_until(partial(_is_up, flower), within_s=60)
        yield flower


def _is_up(flower: Flower) -> bool:
    try:
        return flower.get("healthcheck").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def node(module_redis_url: str, flower: Flower) -> Iterator[Callable[[str], TaskEvents]]:
    """Makes workers as flower sees them, which listens by now."""
    made = []

    def make(name: str) -> TaskEvents:
        made.append(TaskEvents(make_celery(module_redis_url, "tests"), GENERATE_TASK, name))
        return made[-1]

    probe = make("probe")

    def is_heard() -> bool:
        probe.started("probe")
        return bool(flower.task("probe"))

    wait_until(is_heard, within_s=30, every_s=0.2)
    yield make
    for events in made:
        events.close()


@pytest.mark.parametrize("path", ["", "tasks", "api/tasks", "api/workers"])
def test_who_does_not_know_the_password_sees_nothing(flower: Flower, path: str) -> None:
    assert flower.get(path).status_code == 401
    assert flower.get(path, "operator", "wrong").status_code == 401
    assert flower.get(path, "operator", PASSWORD).status_code == 200


def test_probes_need_no_password(flower: Flower) -> None:
    assert (flower.get("healthcheck").status_code, flower.get("healthcheck").text) == (200, "OK")


def test_the_password_is_in_no_list_of_processes(flower: Flower) -> None:
    words = psutil.Process(flower.pid).cmdline()

    assert "worker.monitor" in words
    assert PASSWORD not in " ".join(words)


@pytest.mark.parametrize(
    ("end", "result", "state"),
    [
        (End.SUCCEEDED, "succeeded", "SUCCESS"),
        (End.FAILED, "failed", "FAILURE"),
        (End.REVOKED, "cancelled", "REVOKED"),
        (End.RETRIED, "given back", "RETRY"),
    ],
)
def test_a_job_is_shown_from_its_start_to_its_end(
    flower: Flower, node: Callable[[str], TaskEvents], end: End, result: str, state: str
) -> None:
    events, task_id = node("gpu0@here"), f"job-{state}"

    events.started(task_id, job=7, kind="text2img", model="demo", attempt=1)
    wait_until(lambda: flower.task(task_id).get("state") == "STARTED")
    events.ended(task_id, end, result)
    wait_until(lambda: flower.task(task_id)["state"] == state)

    shown = flower.task(task_id)
    assert (shown["name"], shown["result"], shown["worker"]) == (GENERATE_TASK, result, "gpu0@here")
    assert shown["kwargs"] == "{'job': 7, 'kind': 'text2img', 'model': 'demo', 'attempt': 1}"
    assert shown["runtime"] > 0


def test_a_job_that_was_given_back_is_shown_where_it_is_made_now(
    flower: Flower, node: Callable[[str], TaskEvents]
) -> None:
    first, second = node("gpu0@here"), node("gpu0@there")
    first.started("job-8", job=8)
    first.ended("job-8", End.RETRIED, "given back")
    wait_until(lambda: flower.task("job-8").get("state") == "RETRY")

    second.started("job-8", job=8)

    wait_until(lambda: flower.task("job-8")["state"] == "STARTED")
    assert flower.task("job-8")["worker"] == "gpu0@there"


def test_a_job_that_was_taken_away_is_told_by_its_new_worker_alone(
    flower: Flower, node: Callable[[str], TaskEvents]
) -> None:
    first, second = node("gpu0@here"), node("gpu0@there")
    first.started("job-9", job=9, attempt=1)
    wait_until(lambda: flower.task("job-9"))

    second.started("job-9", job=9, attempt=2)
    first.taken_away("job-9")
    second.ended("job-9", End.SUCCEEDED, "succeeded")

    wait_until(lambda: flower.task("job-9")["state"] == "SUCCESS")
    assert (flower.task("job-9")["worker"], flower.task("job-9")["kwargs"]) == (
        "gpu0@there",
        "{'job': 9, 'attempt': 2}",
    )
