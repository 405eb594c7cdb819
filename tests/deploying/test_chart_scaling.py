"""How many pods the chart's Deployments have, when an autoscaler says it and when nobody does."""

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import helm_python
import pytest
import yaml

from deploy.chart import CHART
from tests.support.chart import ALL, LEAST, Object, Values, joined, render

RUNNING = {"pw-printworks-gateway": 7, "pw-printworks-worker-gpu": 40, "pw-printworks-worker-cpu": 3}
SCALED = {"pw-printworks-gateway", "pw-printworks-worker-gpu"}
"""By an autoscaler, in ALL."""
APPS = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "apps/v1",
    "resources": [{"name": "deployments", "namespaced": True, "kind": "Deployment", "verbs": ["get"]}],
}


@contextmanager
def api_server(running: Mapping[str, int]) -> Iterator[str]:
    """URL of one that knows these Deployments of the namespace `studio`, and how many pods they have."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found = answers.get(path)
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(found or {"kind": "Status", "code": 404}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    folder = "/apis/apps/v1/namespaces/studio/deployments"
    answers: dict[str, Any] = {"/apis/apps/v1": APPS}
    for name, replicas in running.items():
        answers[f"{folder}/{name}"] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "studio"},
            "spec": {"replicas": replicas},
        }
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def upgraded(values: Values, running: Mapping[str, int]) -> list[Object]:
    """What Helm makes of the chart beside Deployments that run."""
    with (
        api_server(running) as url,
        helm_python.Config(namespace="studio", kube_apiserver=url) as config,
        helm_python.Chart.load(CHART) as chart,
    ):
        files = config.render(chart, values, name="pw", namespace="studio", is_upgrade=True)
    texts = (text for name, text in files.items() if name.endswith("deployment.yaml"))
    return [each for text in texts for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def counts(objects: list[Object]) -> dict[str, int | None]:
    return {each["metadata"]["name"]: each["spec"].get("replicas") for each in objects}


@pytest.mark.parametrize("running", [RUNNING, dict.fromkeys(RUNNING, 0)], ids=["some", "none"])
def test_who_begins_to_be_scaled_keeps_as_many_pods_as_there_are(running: dict[str, int]) -> None:
    found = counts(upgraded(ALL, running))

    assert {name: found[name] for name in SCALED} == {name: running[name] for name in SCALED}


def test_who_is_not_scaled_has_as_many_pods_as_the_values_say_whatever_there_is() -> None:
    found = counts(upgraded(joined(LEAST, {"pools": [{"name": "gpu", "replicas": 0}]}), RUNNING))

    assert (found["pw-printworks-gateway"], found["pw-printworks-worker-gpu"]) == (2, 0)
    assert counts(upgraded(ALL, RUNNING))["pw-printworks-worker-cpu"] == 1


def test_a_new_release_leaves_the_count_to_the_autoscaler() -> None:
    found = counts(upgraded(ALL, {}))

    assert {name for name, count in found.items() if count is None} == SCALED


def test_without_a_cluster_to_look_at_who_is_scaled_has_no_count() -> None:
    found = counts(render(ALL).of_kind("Deployment"))

    assert {name for name, count in found.items() if count is None} == SCALED
    targets = {
        each["spec"]["scaleTargetRef"]["name"]
        for each in render(ALL).objects
        if "scaleTargetRef" in each.get("spec", {})
    }
    assert targets == SCALED
