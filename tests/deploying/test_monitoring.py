"""Dashboards and rules: their queries are of metrics that there are, and what they show is explained."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.monitoring.__main__ import DASHBOARDS, FOLDER, text
from shared.settings import Settings
from tests.support.known_metrics import LEDGER, known_metrics
from tests.support.queries import labels_left, named_in
from tests.support.rules import FILE, Rule, alerts, rules

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs" / "OPERATIONS.md").read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
LOG_LINES = (
    *("redis can't be trusted", "unexpected error", "beat skipped", "pictures not stored yet", "job failed"),
    *("the process ends itself", "lane narrowed", "no connection", "a file waits for S3"),
    *("The queue is full", "can remember no more jobs", "Every worker that tried this job vanished"),
)
BOARDS: dict[str, dict[str, Any]] = {
    file.stem: json.loads(file.read_text()) for file in FOLDER.glob("*.json")
}
RECORDS = [rule for rule in rules() if not rule.is_alert]
WINDOW = "$__rate_interval"
UNITS = {"none", "s", "bytes", "percentunit", "reqps", "ops"}


def _panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for uid, board in BOARDS.items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield f"{uid}: {panel['title']}", panel


def _choices() -> Iterator[tuple[str, str]]:
    """What Grafana asks for the values of a variable, and the label whose values those are."""
    for board in BOARDS.values():
        for each in board["templating"]["list"]:
            if each["type"] == "query":
                said = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"]["query"])
                assert said, each["name"]
                yield said[1], said[2]


PANELS = dict(_panels())
TARGETS = [(title, target) for title, panel in PANELS.items() for target in panel["targets"]]
QUERIES = [(title, target["expr"].replace(WINDOW, "5m")) for title, target in TARGETS]
QUERIES += [(rule.name, rule.promql) for rule in rules()]
each_query = pytest.mark.parametrize(
    "promql", [query for _, query in QUERIES], ids=[name for name, _ in QUERIES]
)
each_panel = pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
each_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)


def _assert_known(promql: str) -> None:
    known = known_metrics() | {record.name: _level(record) for record in RECORDS}
    for each in named_in(promql):
        assert each.metric in known
        assert each.labels <= known[each.metric], each.metric


def _level(record: Rule) -> set[str]:
    """`server_pool:metric:operations` has the labels `server` and `pool`."""
    return set(record.name.partition(":")[0].split("_"))


@each_query
def test_a_query_names_metrics_and_labels_that_there_are(promql: str) -> None:
    _assert_known(promql)


@each_query
def test_what_every_gateway_tells_alike_is_not_added_up(promql: str) -> None:
    for each in named_in(promql):
        if each.metric in LEDGER:
            assert each.first_aggregation == "max", each.metric


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_has_the_labels_that_its_name_begins_with(record: Rule) -> None:
    assert labels_left(record.promql) == _level(record)


def test_the_dashboards_are_those_that_their_source_makes() -> None:
    written = {file.name: file.read_text() for file in FOLDER.iterdir()}

    assert written == {f"{each.uid}.json": text(each) for each in DASHBOARDS}


@each_board
def test_a_dashboard_has_panels_that_do_not_lie_on_each_other(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    places = [panel["gridPos"] for panel in board["panels"]]

    assert len(set(ids)) == len(ids)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [pair for pair in combinations(places, 2) if _overlap(*pair)]


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh")
    )


def test_no_two_dashboards_have_one_title() -> None:
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)


@each_panel
def test_a_panel_tells_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]


@each_board
def test_a_dashboards_queries_use_its_variables_and_no_others(board: dict[str, Any]) -> None:
    declared = {each["name"] for each in board["templating"]["list"]}
    said = json.dumps(board["panels"]).replace(WINDOW, "") + json.dumps(board["templating"])

    assert set(re.findall(r"\$\{?(\w+)", said)) - {"__all"} == declared


@pytest.mark.parametrize(("promql", "label"), sorted(set(_choices())))
def test_a_variable_is_a_label_of_series_that_there_are(promql: str, label: str) -> None:
    _assert_known(promql)
    (series,) = named_in(promql)
    assert label in known_metrics()[series.metric]


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=[f"{t}, {each['refId']}" for t, each in TARGETS])
def test_a_legend_names_labels_that_its_series_have(title: str, target: dict[str, Any]) -> None:
    promql = target["expr"].replace(WINDOW, "5m")
    left = labels_left(promql)
    if left is None:
        left = set.union(*(known_metrics()[each.metric] for each in named_in(promql)))

    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= left


def test_the_rule_file_is_one_that_prometheus_reads() -> None:
    said = yaml.safe_load(FILE.read_text())

    assert said.keys() == {"groups"}
    assert all(group.keys() == {"name", "rules"} for group in said["groups"])
    for rule in (rule for group in said["groups"] for rule in group["rules"]):
        wanted = {"alert", "labels", "annotations"} if "alert" in rule else {"record"}
        assert rule.keys() - {"for"} == wanted | {"expr"}


def test_rules_and_their_groups_have_names_of_their_own() -> None:
    groups = [group["name"] for group in yaml.safe_load(FILE.read_text())["groups"]]

    assert len(set(groups)) == len(groups)
    assert len({rule.name for rule in rules()}) == len(rules())


@each_alert
def test_an_alert_tells_how_bad_it_is_and_what_to_do(alert: Rule) -> None:
    assert alert.severity in ("critical", "warning")
    assert alert.annotations.keys() == {"summary", "description", "runbook_url"}
    assert alert.annotations["runbook_url"] == f"docs/OPERATIONS.md#{alert.name.lower()}"
    assert alert.annotations["description"].endswith(".")


def test_every_alert_has_its_page_in_the_docs_and_every_page_its_alert() -> None:
    assert re.findall(r"^### (\w+)$", PAGES, re.MULTILINE) == [alert.name for alert in alerts()]


def test_settings_alerts_and_metrics_that_texts_name_exist() -> None:
    texts = " ".join([*(file.read_text() for file in FOLDER.iterdir()), FILE.read_text(), PAGES])

    settings = {f"PRINTWORKS_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"PRINTWORKS_[A-Z0-9_]*[A-Z0-9]", texts)) <= settings
    assert set(re.findall(r"\bPrintworks[A-Z]\w+", texts)) <= {alert.name for alert in alerts()}
    assert set(re.findall(r"(?<![\w:])printworks_\w+", PAGES)) <= set(known_metrics())


def test_dashboards_and_panels_that_the_pages_send_to_exist() -> None:
    titles = {panel["title"] for panel in PANELS.values()}
    titles |= {board["title"].removeprefix("Printworks / ") for board in BOARDS.values()}

    named = {" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", PAGES)}
    assert named
    assert named <= titles


def test_what_logs_say_according_to_the_pages_is_what_processes_log() -> None:
    files = (file for part in ("api", "shared", "worker") for file in (ROOT / part).rglob("*.py"))
    code = " ".join(file.read_text() for file in files)

    for line in LOG_LINES:
        assert line in " ".join(PAGES.split())
        assert line in code
