"""What the chart tells its processes: settings as they were said, and secrets by Secrets alone."""

import json
import shutil
from pathlib import Path

import pytest

from deploy.chart import CHART
from shared.settings import Settings
from shared.version import VERSION
from tests.support.chart import (
    ALL,
    EVERYTHING,
    EXAMPLES,
    LEAST,
    Values,
    containers,
    environment_in,
    example,
    joined,
    main_container,
    pod_of,
    render,
    settings_in,
)

OTHERS_VARIABLES = {
    "HOME",
    "REDIS_PASSWORD",
    "SENTINEL_PASSWORD",
    "HF_TOKEN",
    "FLOWER_ADDRESS",
    "FLOWER_PORT",
    "FLOWER_BASIC_AUTH",
}
SECRETS = {
    "gateway": {"REDIS_PASSWORD", "PRINTWORKS_SECRET_KEY", "PRINTWORKS_API_KEY", "PRINTWORKS_PEERS"},
    "worker-gpu": {"REDIS_PASSWORD", "PRINTWORKS_SECRET_KEY", "HF_TOKEN"},
    "dispatcher": {"REDIS_PASSWORD", "PRINTWORKS_SECRET_KEY", "PRINTWORKS_WEBHOOK_SECRET"},
    "flower": {"REDIS_PASSWORD", "FLOWER_BASIC_AUTH"},
    "redis": {"REDIS_PASSWORD"},
}
ALL_PODS = {"gateway", "dispatcher", "flower", "worker-gpu", "worker-cpu", "redis"}


@pytest.mark.parametrize("file", [None, *EXAMPLES], ids=lambda file: file.stem if file else "everything")
def test_every_variable_is_a_setting_or_a_known_one(file: Path | None) -> None:
    rendered = render(example(file) if file else ALL)
    settings = {f"PRINTWORKS_{name.upper()}" for name in Settings.model_fields}

    for pod in rendered.pods().values():
        for container in containers(pod):
            names = [variable["name"] for variable in container["env"]]
            assert set(names) - settings - OTHERS_VARIABLES == set()
            assert len(set(names)) == len(names)
    for config in rendered.of_kind("ConfigMap"):
        told = {name for name in config["data"] if name.startswith("PRINTWORKS_")}
        assert told - settings == set()


def test_settings_arrive_as_they_were_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: Values = {
        "settings": {
            "max_side": 1536,
            "model_max_bytes": 137438953472,
            "sync_wait_s": 12.5,
            "strict_http_status": True,
            "allow_private_hosts": ["minio.studio.svc", "10.0.0.7"],
            "webhook_schedule_s": [0, 2.5, 3600],
        },
        "pools": [{"name": "gpu", "settings": {"slots": 12, "dtype": "bf16", "cpu_threads": 3}}],
    }

    rendered = render(joined(LEAST, said))
    gateway = settings_in(rendered, main_container(rendered, "gateway"), monkeypatch)
    worker = settings_in(rendered, main_container(rendered, "worker-gpu"), monkeypatch)

    for found in (gateway, worker):
        assert (found.max_side, found.model_max_bytes, found.sync_wait_s) == (1536, 128 * 1024**3, 12.5)
        assert found.strict_http_status is True
        assert found.allow_private_hosts == ("minio.studio.svc", "10.0.0.7")
        assert found.webhook_schedule_s == (0, 2.5, 3600)
        assert (found.server_name, found.data_dir) == ("pw-printworks", Path("/data"))
        assert found.redis_url == "redis://:pass-word@pw-printworks-redis:6379/0"
    assert (worker.slots, worker.dtype, worker.cpu_threads) == (12, "bf16", 3)
    assert gateway.host == "0.0.0.0"
    gateway.require_serviceable()


def test_a_pool_says_who_it_is_and_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = {"name": "gpu", "serves": ["sdxl", "sd/1.5"], "preload": ["sdxl"]}
    rendered = render(joined(LEAST, {"pools": [pool, {"name": "cpu", "gpu": {"count": 0}}]}))

    gpu, cpu = (
        environment_in(rendered, main_container(rendered, f"worker-{name}")) for name in ("gpu", "cpu")
    )

    assert (gpu["PRINTWORKS_POOL"], gpu["PRINTWORKS_SERVES"], gpu["PRINTWORKS_PRELOAD"]) == (
        "gpu",
        "sdxl,sd/1.5",
        "sdxl",
    )
    assert (cpu["PRINTWORKS_POOL"], cpu["PRINTWORKS_SERVES"], cpu["PRINTWORKS_DEVICE"]) == ("cpu", "", "cpu")


@pytest.mark.parametrize(
    ("gpus", "said", "of_the_pool", "then"),
    [
        (1, {}, {}, "cuda"),
        (1, {"device": "auto"}, {}, "auto"),
        (1, {"device": "auto"}, {"device": "cuda"}, "cuda"),
        (1, {}, {"device": "cuda:0"}, "cuda:0"),
        (0, {}, {}, "cpu"),
        (0, {"device": "cuda"}, {}, "cpu"),
        (0, {}, {"device": "auto"}, "auto"),
    ],
)
def test_a_worker_with_a_gpu_never_makes_do_with_the_cpu_unless_it_is_told_to(
    gpus: int, said: Values, of_the_pool: Values, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = {"name": "one", "gpu": {"count": gpus}, "settings": of_the_pool}
    rendered = render(joined(LEAST, {"settings": said, "pools": [pool]}))

    assert settings_in(rendered, main_container(rendered, "worker-one"), monkeypatch).device == then


def test_ports_are_those_that_the_processes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render(ALL)
    told = {
        "gateway": ("http", "PRINTWORKS_PORT"),
        "dispatcher": ("metrics", "PRINTWORKS_METRICS_PORT"),
        "worker-gpu": ("metrics", "PRINTWORKS_METRICS_PORT"),
        "flower": ("flower", "FLOWER_PORT"),
    }

    for name, (port, variable) in told.items():
        container = main_container(rendered, name)
        assert container["ports"] == [
            {"name": port, "containerPort": int(environment_in(rendered, container)[variable])}
        ]


@pytest.mark.parametrize(
    ("change", "who"),
    [
        ({"settings": {"max_side": 512}}, ALL_PODS - {"redis"}),
        ({"secrets": {"apiKey": {"value": "another"}}}, {"gateway"}),
        ({"secrets": {"hubToken": {"value": "another"}}}, {"worker-gpu", "worker-cpu"}),
        ({"flower": {"auth": {"value": "other:words"}}}, {"flower"}),
        ({"models": {"list": [{"kind": "lora", "id": "a", "hub": "b/c"}]}}, {"gateway"}),
        ({"redis": {"password": {"value": "other"}}}, ALL_PODS),
        ({"redis": {"sentinel": {"password": {"value": "other"}}}}, ALL_PODS - {"redis"}),
        ({"redis": {"embedded": {"resources": {"limits": {"memory": "4Gi"}}}}}, {"redis"}),
        ({"gateway": {"service": {"port": 81}}}, set()),
        ({"commonAnnotations": {"owner": "studio"}}, set()),
    ],
    ids=[
        *("setting", "api-key", "hub-token", "flower", "models", "redis-password", "sentinel-password"),
        *("redis-memory", "service", "annotations"),
    ],
)
def test_a_change_brings_new_pods_where_it_is_read_and_nowhere_else(change: Values, who: set[str]) -> None:
    before, after = render(ALL).pods(), render(joined(ALL, change)).pods()

    changed = {name.removeprefix("pw-printworks-") for name in before if before[name] != after.get(name)}

    assert {name for name in changed if not name.startswith("preload")} == who


def test_another_version_of_the_chart_with_the_same_images_brings_no_new_pods(tmp_path: Path) -> None:
    folder = shutil.copytree(CHART, tmp_path / "printworks")
    about = folder / "Chart.yaml"
    about.write_text(about.read_text().replace(f"\nversion: {VERSION}", "\nversion: 9.9.9"))

    before, after = render(ALL), render(ALL, folder=folder)

    assert before.pods() == after.pods()
    label = after.one("Deployment", "pw-printworks-gateway")["metadata"]["labels"]["helm.sh/chart"]
    assert label == "printworks-9.9.9"


@pytest.mark.parametrize("name", SECRETS)
def test_a_process_gets_the_secrets_that_it_uses_and_no_other(name: str) -> None:
    secrets = {
        name: {"existingSecret": "keys", "key": name, "value": ""}
        for name in ("apiKey", "secretKey", "webhookSecret", "hubToken", "peers")
    }
    rendered = render(
        joined(EVERYTHING, {"secrets": secrets, "redis": {"password": {"existingSecret": "keys"}}})
    )

    given = {
        variable["name"]
        for variable in main_container(rendered, name)["env"]
        if "secretKeyRef" in variable.get("valueFrom", {})
    }

    assert given == SECRETS[name]


def test_secrets_are_in_secrets_alone() -> None:
    values = joined(ALL, {"redis": {"password": {"value": "hidden-1"}}})
    for index, name in enumerate(("apiKey", "apiKeysFile", "secretKey", "hubToken", "peers")):
        values["secrets"][name] = {"value": f"hidden-{index + 2}"}
    values["flower"]["auth"] = {"value": "hidden-7"}

    rendered = render(values)

    (secret,) = rendered.of_kind("Secret")
    assert {f"hidden-{index}" for index in range(1, 8)} == set(secret["stringData"].values())
    rest = [each for each in rendered.objects if each is not secret]
    assert "hidden" not in json.dumps(rest) + rendered.notes


def test_existing_secrets_are_named_and_none_is_made() -> None:
    rendered = render(example(EXAMPLES[0]))
    sentinel = next(file for file in EXAMPLES if file.stem == "two-hundred-gpus")

    url = environment_in(render(example(sentinel)), main_container(render(example(sentinel)), "gateway"))

    assert rendered.of_kind("Secret") == []
    assert url["PRINTWORKS_REDIS_URL"] == (
        "redis+sentinel://:redis-password of printworks-redis@sentinel-0.redis.svc:26379,"
        "sentinel-1.redis.svc:26379,sentinel-2.redis.svc:26379/printworks/0"
    )


def test_the_file_of_keys_is_mounted_where_the_gateway_reads_it() -> None:
    rendered = render(
        joined(LEAST, {"secrets": {"apiKeysFile": {"existingSecret": "keys", "key": "k.json"}}})
    )
    container = main_container(rendered, "gateway")

    file = Path(environment_in(rendered, container)["PRINTWORKS_API_KEYS_FILE"])

    (volume,) = (each for each in pod_of(rendered, "gateway")["spec"]["volumes"] if each["name"] == "keys")
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "keys")
    assert mount["mountPath"] == str(file.parent)
    assert "subPath" not in mount  # else it would never be brought up to date
    assert volume["secret"] == {"secretName": "keys", "items": [{"key": "k.json", "path": file.name}]}
