"""A machine that joins a cluster: what `printworks-worker` and `make worker` start, and how that ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy import commands
from deploy.ports import free_port
from shared import ledger
from shared.jobs import JobState
from shared.ledger import Ledger
from shared.settings import Settings
from tests.support.environment import clean_environment
from tests.support.processes import environment_of, running
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "deploy.workers"]
KEY = "a key of the tests"
LISTING = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
"""
"""What the driver of a machine with two GPUs says. Here its workers find none, and use the CPU."""


@dataclass(frozen=True)
class Machine:
    """With two GPUs, and its launcher."""

    launcher: subprocess.Popen[bytes]
    log: Path
    url: str
    store: Ledger

    def workers(self) -> dict[str, psutil.Process]:
        """By their GPUs."""
        return workers_of(self.launcher)

    def lines(self) -> list[dict[str, Any]]:
        return lines_of(self.log)

    def text2img(self, **fields: Any) -> dict[str, Any]:
        body = {"key": KEY, "model_id": "demo", "prompt": "a red circle", "width": 64, "height": 64}
        answer = httpx.post(f"{self.url}/api/v1/enterprise/text2img", json=body | fields, timeout=60)
        said: dict[str, Any] = answer.json()
        return said


def workers_of(launcher: subprocess.Popen[bytes]) -> dict[str, psutil.Process]:
    found = {}
    for process in psutil.Process(launcher.pid).children():
        with contextlib.suppress(psutil.Error):  # it has ended, or is on its way to what it will be
            if "worker.gpu.app" in process.cmdline() and "deploy.tether" not in process.cmdline():
                found[process.environ()["CUDA_VISIBLE_DEVICES"]] = process
    return found


def lines_of(log: Path) -> list[dict[str, Any]]:
    """The workers' and the launcher's own; what a library prints before it is told how to is no object."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def gpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine with two."""
    folder = tmp_path_factory.mktemp("driver")
    (folder / "listing").write_text(LISTING)
    (folder / "nvidia-smi").write_text(f'#!/bin/sh\n[ "$1" = -L ] && cat {folder}/listing\n')
    (folder / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def first_of_two_free_ports() -> int:
    """Each worker's metrics are at the port after the one before."""
    while free_port(1 + (first := free_port())) != first + 1:
        pass
    return first


@pytest.fixture(scope="module")
def machine(
    module_redis_url: str, gpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    port, metrics_port = free_port(), first_of_two_free_ports()
    settings = Settings(
        redis_url=module_redis_url,
        data_dir=folder / "data",
        port=port,
        api_key=KEY,
        cpu_threads=1,
        drain_s=1.0,
        metrics_port=metrics_port,
    )
    environment, log = environment_of(settings) | gpus, folder / "launcher.log"
    gateway = running(commands.gateway().words, folder / "gateway.log", environment=environment)
    store = Ledger(module_redis_url)
    with gateway, running([*COMMAND, "--gpus", "0,1"], log, environment=environment) as launcher:
        machine = Machine(launcher, log, f"http://127.0.0.1:{port}", store)
        wait_until(lambda: len(store.run(ledger.stats()).workers) == 2, within_s=120)
        yield machine
    store.close()


def test_each_worker_has_a_gpu_and_a_port_of_its_own_and_is_told_to_be_up(machine: Machine) -> None:
    workers = machine.workers()
    ports = {gpu: int(found.environ()["PRINTWORKS_METRICS_PORT"]) for gpu, found in workers.items()}

    assert set(workers) == {"0", "1"}
    assert ports["1"] == ports["0"] + 1
    for gpu, process in workers.items():
        assert f"--hostname=gpu{gpu}@%h" in process.cmdline()
        said = f"worker{gpu}: up, pid {process.pid}"
        wait_until(lambda said=said: said in [line["event"] for line in machine.lines()])  # type: ignore[misc]
    assert {line["process"] for line in machine.lines()} == {"launcher", "worker"}


def test_a_worker_that_is_killed_is_started_again_on_its_gpu(machine: Machine) -> None:
    killed, other = (machine.workers()[gpu] for gpu in ("1", "0"))

    killed.kill()

    def another() -> psutil.Process | None:
        found = machine.workers().get("1")
        return found if found != killed else None

    again = wait_until(another)
    assert again.environ()["PRINTWORKS_METRICS_PORT"] == str(
        int(other.environ()["PRINTWORKS_METRICS_PORT"]) + 1
    )
    assert machine.workers()["0"] == other
    told = [line["event"] for line in machine.lines() if line["process"] == "launcher"]
    assert "worker1: ended with status -9, restarting in 0.5 s" in told
    assert machine.text2img(num_inference_steps=2)["status"] == "success"


def test_sigterm_gives_back_what_can_not_be_finished_and_leaves_nothing_behind(machine: Machine) -> None:
    """The last one that asks for the machine, which it ends."""
    long = {"num_inference_steps": 50, "samples": 4, "width": 256, "height": 256, "instant_response": "yes"}
    job_id = machine.text2img(**long)["id"]
    wait_until(lambda: machine.store.run(ledger.read(job_id, None)).state is JobState.RUNNING)
    workers = list(machine.workers().values())

    machine.launcher.send_signal(signal.SIGTERM)

    assert machine.launcher.wait(15) == 0
    assert len(workers) == 2
    assert not [worker for worker in workers if worker.is_running()]
    job = machine.store.run(ledger.read(job_id, None))
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert machine.lines()[-1]["event"] == "stopped"


def test_no_worker_outlives_a_launcher_that_is_killed(
    module_redis_url: str, gpus: dict[str, str], tmp_path: Path
) -> None:
    environment = gpus | {"PRINTWORKS_REDIS_URL": module_redis_url, "PRINTWORKS_DATA_DIR": str(tmp_path)}
    with running(COMMAND, tmp_path / "log", environment=environment) as launcher:
        wait_until(lambda: len(workers_of(launcher)) == 2)
        workers = list(workers_of(launcher).values())

        launcher.kill()

        assert not psutil.wait_procs(workers, timeout=5)[1]


def test_a_redis_that_does_not_answer_is_waited_for_and_told_of_once(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    environment = {"PRINTWORKS_REDIS_URL": f"redis://:a-password@127.0.0.1:{port}/0"}
    with running(COMMAND, log, environment=environment) as launcher:
        wait_until(lambda: log.read_text())

        launcher.send_signal(signal.SIGTERM)

        assert launcher.wait(10) == 0
    (line,) = lines_of(log)
    assert line["event"].startswith("waiting for Redis: ")
    assert "a-password" not in log.read_text()


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (["--gpus", "0,7"], {}, "GPU 7 is not there: this machine has 0, 1.\n"),
        ([], {"PRINTWORKS_SLOTS": "0"}, "PRINTWORKS_SLOTS: Input should be greater than or equal to 1\n"),
        ([], {"PRINTWORKS_REDIS_URL": "somewhere"}, "URL of Redis can't be used"),
    ],
    ids=["gpu", "setting", "redis"],
)
def test_what_can_not_be_done_is_one_sentence_and_exit_code_2(
    gpus: dict[str, str], words: list[str], variables: dict[str, str], said: str
) -> None:
    environment = clean_environment() | gpus | variables

    refused = subprocess.run(
        [*COMMAND, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert refused.returncode == 2
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1
