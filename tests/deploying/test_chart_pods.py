"""What runs in the chart's pods, on what, and for how long."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from api.__main__ import SHUTDOWN_S
from deploy.chart import CHART
from shared.settings import Settings
from tests.support.chart import (
    ALL,
    LEAST,
    NODE_CACHE,
    Rendered,
    Values,
    environment_in,
    joined,
    main_container,
    pod_of,
    render,
    settings_in,
)

PROCESSES = {
    "gateway": ["python", "-m", "deploy.process", "gateway"],
    "dispatcher": ["python", "-m", "deploy.process", "dispatcher"],
    "flower": ["python", "-m", "deploy.process", "flower"],
    "worker-gpu": ["python", "-m", "deploy.process", "gpu-worker"],
    "worker-cpu": ["python", "-m", "deploy.process", "gpu-worker"],
}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_pod_runs_the_process_that_it_is_named_after(name: str) -> None:
    assert main_container(render(ALL), name)["args"] == PROCESSES[name]


def test_a_worker_has_one_gpu_of_the_kind_that_its_pool_says() -> None:
    pools = [
        {"name": "whole"},
        {"name": "slice", "gpu": {"resource": "nvidia.com/mig-1g.10gb"}},
        {"name": "none", "gpu": {"count": 0}},
    ]
    rendered = render(joined(LEAST, {"pools": pools}))

    limits = {
        name: main_container(rendered, f"worker-{name}")["resources"]["limits"]
        for name in ("whole", "slice", "none")
    }

    assert limits == {
        "whole": {"memory": "32Gi", "nvidia.com/gpu": 1},
        "slice": {"memory": "32Gi", "nvidia.com/mig-1g.10gb": 1},
        "none": {"memory": "32Gi"},
    }


def test_a_pool_has_what_it_says_and_else_what_all_pools_have() -> None:
    values: Values = {
        "poolDefaults": {"replicas": 3, "nodeSelector": {"gpu": "l40s"}, "safeToEvict": True},
        "pools": [
            {"name": "usual"},
            {"name": "own", "replicas": 0, "safeToEvict": False, "image": {"tag": "own-build"}},
        ],
    }
    rendered = render(joined(LEAST, values))

    usual, own = (rendered.one("Deployment", f"pw-printworks-worker-{name}") for name in ("usual", "own"))

    assert (usual["spec"]["replicas"], own["spec"]["replicas"]) == (3, 0)
    assert own["spec"]["template"]["spec"]["nodeSelector"] == {"gpu": "l40s"}
    evictable = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    assert [each["spec"]["template"]["metadata"]["annotations"][evictable] for each in (usual, own)] == [
        "true",
        "false",
    ]
    assert main_container(rendered, "worker-own")["image"] == "printworks-worker:own-build"


def test_a_worker_has_as_many_threads_as_it_asks_for_cores_unless_they_are_said() -> None:
    usual = render(LEAST)
    said = [
        render(joined(LEAST, {"settings": {"cpu_threads": 7}})),
        render(joined(LEAST, {"poolDefaults": {"settings": {"cpu_threads": 7}}})),
    ]
    unasked = render(joined(LEAST, {"poolDefaults": {"resources": {"requests": {"cpu": None}}}}))

    threads = {
        each["name"]: each["valueFrom"]
        for each in main_container(usual, "worker-default")["env"]
        if each["name"] == "PRINTWORKS_CPU_THREADS"
    }

    assert threads == {"PRINTWORKS_CPU_THREADS": {"resourceFieldRef": {"resource": "requests.cpu"}}}
    for rendered in said:
        told = environment_in(rendered, main_container(rendered, "worker-default"))
        assert told["PRINTWORKS_CPU_THREADS"] == "7"
    nothing = environment_in(unasked, main_container(unasked, "worker-default"))
    assert "PRINTWORKS_CPU_THREADS" not in nothing


def test_an_image_is_named_by_registry_and_digest() -> None:
    digest = f"sha256:{'a' * 64}"
    values = {"images": {"registry": "registry.example.com/studio/", "gateway": {"digest": digest}}}

    rendered = render(joined(LEAST, values))

    assert (
        main_container(rendered, "gateway")["image"]
        == f"registry.example.com/studio/printworks-gateway@{digest}"
    )
    worker = main_container(rendered, "worker-default")["image"]
    assert worker == "registry.example.com/studio/printworks-worker:0.1.0"


@pytest.mark.parametrize("longest_s", [60, 900])
def test_a_worker_may_finish_its_longest_job(longest_s: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values: Values = {"pools": [{"name": "gpu", "drain": {"longestJobSeconds": longest_s}}]}
    rendered = render(joined(LEAST, values))

    told = settings_in(rendered, main_container(rendered, "worker-gpu"), monkeypatch)

    assert told.drain_s == longest_s
    assert pod_of(rendered, "worker-gpu")["spec"]["terminationGracePeriodSeconds"] >= longest_s + 15


def test_a_worker_may_start_for_as_long_as_its_pool_says(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render(joined(LEAST, {"pools": [{"name": "gpu", "startSeconds": 1801}]}))
    container = main_container(rendered, "worker-gpu")

    probe = container["startupProbe"]

    assert settings_in(rendered, container, monkeypatch).start_s == 1801
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 1801
    assert probe["httpGet"]["path"] == "/health/ready"
    assert rendered.one("Deployment", "pw-printworks-worker-gpu")["spec"]["progressDeadlineSeconds"] > 1801


def test_a_gateway_outlives_the_requests_that_it_has() -> None:
    default = Settings.model_fields["sync_wait_s"].default
    usual = pod_of(render(LEAST), "gateway")["spec"]
    longer = pod_of(render(joined(LEAST, {"settings": {"sync_wait_s": 90.5}})), "gateway")["spec"]

    pause = usual["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert usual["terminationGracePeriodSeconds"] > pause + default + SHUTDOWN_S
    assert longer["terminationGracePeriodSeconds"] > pause + 90.5 + SHUTDOWN_S


def test_a_dispatcher_outlives_the_deliveries_that_it_has() -> None:
    default = Settings.model_fields["webhook_timeout_s"].default
    usual = pod_of(render(LEAST), "dispatcher")["spec"]["terminationGracePeriodSeconds"]
    longer = pod_of(render(joined(LEAST, {"settings": {"webhook_timeout_s": 90}})), "dispatcher")["spec"]

    assert usual > default
    assert longer["terminationGracePeriodSeconds"] > 90


def test_what_kubernetes_lets_nobody_change_never_changes(tmp_path: Path) -> None:
    """An upgrade that would is refused."""
    later = joined(
        ALL,
        NODE_CACHE,
        {
            "commonLabels": {"team": "images"},
            "commonAnnotations": {"owner": "studio"},
            "images": {"worker": {"tag": "2.0"}},
            "poolDefaults": {"podLabels": {"gpu": "yes"}},
        },
    )
    folder = shutil.copytree(CHART, tmp_path / "printworks")
    about = folder / "Chart.yaml"
    about.write_text(about.read_text().replace("ersion: 0.1.0", "ersion: 9.9.9"))

    before, after = fixed(render(ALL)), fixed(render(later, folder=folder))

    assert len(before) == 6
    assert before == after


def fixed(rendered: Rendered) -> dict[str, tuple[Any, ...]]:
    names = ("selector", "volumeClaimTemplates", "serviceName")
    makers = (*rendered.of_kind("Deployment"), *rendered.of_kind("StatefulSet"))
    return {each["metadata"]["name"]: tuple(each["spec"].get(name) for name in names) for each in makers}


def test_every_selector_chooses_the_pods_of_one_maker() -> None:
    rendered = render(ALL)
    labels = [pod["metadata"]["labels"] for pod in rendered.pods().values()]

    for each in (*rendered.of_kind("Deployment"), *rendered.of_kind("StatefulSet")):
        selector = each["spec"]["selector"]["matchLabels"]
        assert [selector.items() <= pod.items() for pod in labels].count(True) == 1
        assert selector.items() <= each["spec"]["template"]["metadata"]["labels"].items()


def test_who_is_scaled_has_no_count_of_its_own() -> None:
    scaled = render(ALL)

    (scaler,) = scaled.of_kind("HorizontalPodAutoscaler")
    name = scaler["spec"]["scaleTargetRef"]["name"]

    assert "replicas" not in scaled.one("Deployment", name)["spec"]
    assert render(LEAST).one("Deployment", name)["spec"]["replicas"] == 2


def test_pods_are_spread_among_their_own() -> None:
    spread = pod_of(render(ALL), "gateway")["spec"]["topologySpreadConstraints"]

    assert spread[0]["labelSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "printworks",
        "app.kubernetes.io/instance": "pw",
        "app.kubernetes.io/component": "gateway",
    }
