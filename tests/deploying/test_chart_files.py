"""Where the chart's pods keep files, and how models come there."""

from pathlib import Path

import pytest

from shared.registry.file import read_models
from tests.support.chart import (
    ALL,
    EXAMPLES,
    LEAST,
    NODE_CACHE,
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


def test_all_who_share_files_mount_the_same_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render(ALL)

    for name in ("gateway", "worker-gpu", "worker-cpu"):
        container, volumes = main_container(rendered, name), pod_of(rendered, name)["spec"]["volumes"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        claims = {
            volume["name"]: volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes
            if "persistentVolumeClaim" in volume
        }
        told = settings_in(rendered, container, monkeypatch)
        assert claims == {"data": "pw-printworks-data", "models": "pw-printworks-models"}
        assert (mounts["data"], mounts["models"]) == (str(told.data_dir), str(told.models_folder))


def test_mounts_have_volumes_and_volumes_are_mounted() -> None:
    for values in (LEAST, ALL, joined(ALL, NODE_CACHE), *map(example, EXAMPLES)):
        for name, pod in render(values).pods().items():
            volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
            mounted = {mount["name"] for each in containers(pod) for mount in each["volumeMounts"]}
            kept = {"data"} if name.endswith("-redis") else set()
            assert mounted - kept == volumes, name


def test_the_models_of_the_list_are_what_the_processes_read(tmp_path: Path) -> None:
    listed = [
        {"kind": "checkpoint", "id": "sdxl", "hub": "someone/sdxl@main", "revision": "fp16"},
        {"kind": "lora", "id": "style", "url": "https://example.com/style.safetensors?token=a%20b"},
        {"kind": "vae", "id": "mine", "path": "/models/mine"},
    ]
    rendered = render(joined(LEAST, {"models": {"list": listed}}))
    file = tmp_path / "models.yaml"
    file.write_text(rendered.one("ConfigMap", "pw-printworks-models")["data"]["models.yaml"])

    read = [model.line.model_dump(mode="json", exclude_unset=True) for model in read_models(file)]

    assert read == listed
    for name in ("gateway", "worker-default"):
        container = main_container(rendered, name)
        folder = next(
            each["mountPath"] for each in container["volumeMounts"] if each["name"] == "models-file"
        )
        assert environment_in(rendered, container)["PRINTWORKS_MODELS_FILE"] == f"{folder}/models.yaml"


def test_a_shared_cache_is_filled_by_a_job_without_a_gpu() -> None:
    rendered = render(ALL)

    (job,) = rendered.of_kind("Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]

    assert container["args"] == ["python", "-m", "worker.gpu.preload"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert all("initContainers" not in pod["spec"] for pod in rendered.pods().values())


def test_a_cache_of_each_node_is_filled_before_its_worker_starts_whatever_fails() -> None:
    pools = [{"name": "gpu", "serves": ["sdxl", "sd15"]}, {"name": "cpu"}]
    rendered = render(joined(ALL, NODE_CACHE, {"pools": pools}))

    (preload,) = pod_of(rendered, "worker-gpu")["spec"]["initContainers"]
    (other,) = pod_of(rendered, "worker-cpu")["spec"]["initContainers"]

    assert preload["args"] == ["sh", "-c", "python -m worker.gpu.preload || true"]
    assert {"name": "models", "mountPath": "/models"} in preload["volumeMounts"]
    assert environment_in(rendered, preload)["PRINTWORKS_SERVES"] == "sdxl,sd15"
    assert "PRINTWORKS_SERVES" not in environment_in(rendered, other)
    assert rendered.of_kind("Job") == []


def test_a_preload_that_would_differ_is_another_job() -> None:
    """What is in a Job can't be changed."""
    changes: list[Values] = [
        {"models": {"list": [{"kind": "checkpoint", "id": "flux", "hub": "someone/flux"}]}},
        {"images": {"worker": {"tag": "2.0"}}},
        {"models": {"preload": {"retries": 2}}},
        {"tmpSize": "5Gi"},
        {"podSecurityContext": {"runAsUser": 20002}},
    ]

    names = [render(joined(ALL, each)).of_kind("Job")[0]["metadata"]["name"] for each in ({}, *changes)]

    assert len(set(names)) == len(names)


def test_what_must_be_on_one_node_is_on_it() -> None:
    file = next(file for file in EXAMPLES if file.stem == "eight-gpus")
    pods = render(example(file)).pods()

    on_it = {
        name.removeprefix("pw-printworks-").partition("-")[0]
        for name, pod in pods.items()
        if pod["spec"].get("nodeSelector") == {"kubernetes.io/hostname": "gpu-1"}
    }

    assert on_it == {"gateway", "worker", "preload"}
