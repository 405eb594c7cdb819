"""What the chart gives Prometheus and Grafana: monitors, rules and dashboards that their operators find."""

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
    Values,
    changed,
    joined,
    refusal,
    render,
)
from tests.support.rules import FILE

WATCHED = joined(ALL, {"serverName": "studio-1"})
KINDS = {
    "monitors": {"ServiceMonitor", "PodMonitor"},
    "rules": {"PrometheusRule"},
    "dashboards": {"ConfigMap"},
}


UNWATCHED: Values = joined(ALL, {"monitoring": {part: {"enabled": False} for part in KINDS}})


@pytest.mark.parametrize("part", KINDS)
def test_each_part_of_monitoring_comes_when_it_is_wanted_and_brings_no_other(part: str) -> None:
    before = render(UNWATCHED).objects
    after = render(changed(f"monitoring.{part}.enabled", True, UNWATCHED)).objects

    assert {each["kind"] for each in after if each not in before} == KINDS[part]
    assert [each for each in before if each not in after] == []


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
