"""What the chart gives Prometheus and Grafana: targets with the labels that queries know, rules, panels."""

import json
from pathlib import Path

import helm_python
import pytest
import yaml

from deploy.chart import CHART
from deploy.monitoring.__main__ import FOLDER
from tests.support.chart import (
    ALL,
    Object,
    Rendered,
    Values,
    changed,
    environment_in,
    joined,
    refusal,
    render,
)
from tests.support.known_metrics import OF_SCRAPING
from tests.support.rules import FILE

WATCHED = joined(ALL, {"serverName": "studio-1"})
KINDS = {
    "monitors": {"ServiceMonitor", "PodMonitor"},
    "rules": {"PrometheusRule"},
    "dashboards": {"ConfigMap"},
}


def endpoint(monitor: Object) -> Object:
    spec = monitor["spec"]
    (found,) = spec["endpoints"] if monitor["kind"] == "ServiceMonitor" else spec["podMetricsEndpoints"]
    return dict(found)


def scraped(rendered: Rendered) -> dict[str, list[Object]]:
    """The pods' templates that each monitor finds, by what it calls their process."""
    pods = list(rendered.pods().values())
    return {
        given(monitor)["process"]: [pod for pod in pods if is_chosen(pod, monitor["spec"]["selector"])]
        for kind in KINDS["monitors"]
        for monitor in rendered.of_kind(kind)
    }


def given(monitor: Object) -> dict[str, str]:
    """Labels of its targets that it says itself."""
    return {
        each["targetLabel"]: each["replacement"]
        for each in endpoint(monitor)["relabelings"]
        if "replacement" in each
    }


def is_chosen(thing: Object, selector: Object) -> bool:
    return bool(selector["matchLabels"].items() <= thing["metadata"]["labels"].items())


UNWATCHED: Values = joined(ALL, {"monitoring": {part: {"enabled": False} for part in KINDS}})


@pytest.mark.parametrize("part", KINDS)
def test_each_part_of_monitoring_comes_when_it_is_wanted_and_brings_no_other(part: str) -> None:
    before = render(UNWATCHED).objects
    after = render(changed(f"monitoring.{part}.enabled", True, UNWATCHED)).objects

    assert {each["kind"] for each in after if each not in before} == KINDS[part]
    assert [each for each in before if each not in after] == []


def test_every_process_is_scraped_by_the_name_that_starts_it() -> None:
    found = scraped(render(WATCHED))

    started = {
        process: {pod["spec"]["containers"][0]["args"][-1] for pod in pods} for process, pods in found.items()
    }
    assert started == {name: {name} for name in ("gateway", "gpu-worker", "dispatcher", "flower")}
    assert len(found["gpu-worker"]) == len(WATCHED["pools"])


def test_monitors_ask_ports_that_there_are() -> None:
    rendered = render(WATCHED)

    for monitor in rendered.of_kind("PodMonitor"):
        for pod in scraped(rendered)[given(monitor)["process"]]:
            assert endpoint(monitor)["port"] in [
                each["name"] for each in pod["spec"]["containers"][0]["ports"]
            ]
    for monitor in rendered.of_kind("ServiceMonitor"):
        (service,) = (
            each for each in rendered.of_kind("Service") if is_chosen(each, monitor["spec"]["selector"])
        )
        assert endpoint(monitor)["port"] in [each["name"] for each in service["spec"]["ports"]]


def test_flower_is_scraped_only_where_it_runs() -> None:
    assert "flower" not in scraped(render(changed("flower.enabled", False, WATCHED)))


def test_targets_have_the_labels_that_queries_know_and_the_names_that_processes_have() -> None:
    rendered = render(WATCHED)

    for kind in KINDS["monitors"]:
        for monitor in rendered.of_kind(kind):
            labels = {each["targetLabel"] for each in endpoint(monitor)["relabelings"]}
            assert labels <= OF_SCRAPING
            assert given(monitor)["server"] == "studio-1"
    gateway = rendered.pods()["pw-printworks-gateway"]["spec"]["containers"][0]
    assert environment_in(rendered, gateway)["PRINTWORKS_SERVER_NAME"] == "studio-1"


def test_workers_are_told_apart_by_the_pool_that_they_say_they_are_of() -> None:
    rendered = render(WATCHED)
    workers = rendered.one("PodMonitor", "pw-printworks-worker")

    (pool,) = (each for each in endpoint(workers)["relabelings"] if each["targetLabel"] == "pool")
    assert pool["sourceLabels"] == ["__meta_kubernetes_pod_label_printworks_io_pool"]
    for pod in scraped(rendered)["gpu-worker"]:
        told = environment_in(rendered, pod["spec"]["containers"][0])["PRINTWORKS_POOL"]
        assert pod["metadata"]["labels"]["printworks.io/pool"] == told


def test_a_server_without_a_name_is_known_by_the_name_that_its_processes_have() -> None:
    rendered = render(changed("serverName", "", WATCHED))
    gateway = rendered.pods()["pw-printworks-gateway"]["spec"]["containers"][0]

    named = environment_in(rendered, gateway)["PRINTWORKS_SERVER_NAME"]
    assert {given(each)["server"] for each in rendered.of_kind("PodMonitor")} == {named}


@pytest.mark.parametrize("part", ["monitors", "rules", "dashboards"])
def test_operators_find_their_objects_by_labels_which_change_no_selector(part: str) -> None:
    wanted = {"release": "prometheus", "app.kubernetes.io/name": "somebody else"}

    rendered = render(changed(f"monitoring.{part}.labels", wanted, WATCHED))

    new = [each for each in rendered.objects if each not in render(WATCHED).objects]
    assert new
    for each in new:
        labels = each["metadata"]["labels"]
        assert (labels["release"], labels["app.kubernetes.io/name"]) == ("prometheus", "printworks")


def test_the_rules_are_those_of_the_file_with_all_that_prometheus_fills_in() -> None:
    (rule,) = render(WATCHED).of_kind("PrometheusRule")

    assert rule["spec"] == yaml.safe_load(FILE.read_text())
    assert "{{ $labels.server }}" in json.dumps(rule)


def test_runbooks_lie_where_the_operator_keeps_the_docs() -> None:
    base = "https://docs.example.com/printworks/"

    (rule,) = render(changed("monitoring.rules.runbookBase", base, WATCHED)).of_kind("PrometheusRule")

    urls = [each["annotations"]["runbook_url"] for each in alerts_of(rule)]
    assert urls
    assert all(url.startswith(f"{base}docs/OPERATIONS.md#") for url in urls)


def alerts_of(rule: Object) -> list[Object]:
    return [each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each]


def test_an_alert_that_is_left_out_is_the_only_one_that_is_missing() -> None:
    without = ["PrintworksStalled", "PrintworksLongWait"]

    (all_of_them,) = render(WATCHED).of_kind("PrometheusRule")
    (others,) = render(changed("monitoring.rules.without", without, WATCHED)).of_kind("PrometheusRule")

    assert alerts_of(others) == [each for each in alerts_of(all_of_them) if each["alert"] not in without]
    assert len(alerts_of(all_of_them)) == len(alerts_of(others)) + 2


def test_what_is_no_alert_can_not_be_left_out() -> None:
    said = refusal(changed("monitoring.rules.without", ["PrintworksStaled"], WATCHED))

    assert "monitoring.rules.without names PrintworksStaled, and no alert is called so." in said


def test_grafana_gets_each_dashboard_as_it_is() -> None:
    maps = [
        each for each in render(WATCHED).of_kind("ConfigMap") if "-dashboard-" in each["metadata"]["name"]
    ]

    given = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert given == {file.name: json.loads(file.read_text()) for file in FOLDER.iterdir()}
    assert all(each["metadata"]["labels"]["grafana_dashboard"] == "1" for each in maps)


def test_a_packaged_chart_has_the_rules_and_the_dashboards_in_it(tmp_path: Path) -> None:
    package = helm_python.package(CHART, destination=tmp_path)

    with helm_python.Chart.load(package) as chart:
        packed = {file["name"] for file in chart.files}
    assert {"files/alerts.yaml", *(f"files/dashboards/{file.name}" for file in FOLDER.iterdir())} <= packed
