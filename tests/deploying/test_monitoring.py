"""Dashboards, rules and what their texts say: every query is one that Prometheus understands, of metrics that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml

from deploy.monitoring.__main__ import DASHBOARDS, FOLDER, text
from tests.support.known_metrics import LEDGER, known_metrics
from tests.support.queries import Named, named_in
from tests.support.rules import FILE, alerts, rules

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "OPERATIONS.md").read_text()
FILES = sorted(FOLDER.glob("*.json"))
BOARDS = {file.stem: json.loads(file.read_text()) for file in FILES}
GLOBAL_VARIABLES = {"__rate_interval"}


def panels(board: str) -> list[dict[str, object]]:
    return [panel for panel in BOARDS[board]["panels"] if panel["type"] != "row"]


def board_queries() -> Iterator[tuple[str, str]]:
    for board in BOARDS:
        for panel in panels(board):
            for target in panel["targets"]:  # type: ignore[attr-defined]
                yield f"{board}: {panel['title']}", target["expr"].replace("$__rate_interval", "5m")


def rule_queries() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule.name, rule.promql


QUERIES = [*board_queries(), *rule_queries()]


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[name for name, _ in QUERIES])
def test_a_query_names_metrics_and_labels_that_there_are(query: str) -> None:
    recorded = {rule.name: _recorded_labels(rule.name) for rule in rules() if not rule.is_alert}
    known = known_metrics() | recorded

    for each in named_in(query):
        assert each.metric in known
        assert each.labels <= known[each.metric]


def _recorded_labels(name: str) -> set[str]:
    """What is recorded by `level:metric:operations` has the labels of its level."""
    return set(name.split(":", 1)[0].split("_"))


@pytest.mark.parametrize("rule", [rule for rule in rules() if not rule.is_alert], ids=lambda rule: rule.name)
def test_a_recorded_series_has_the_labels_that_its_name_tells(rule: "object") -> None:
    assert named_by(rule.promql) == _recorded_labels(rule.name)  # type: ignore[attr-defined]


def named_by(promql: str) -> set[str]:
    """Labels that the outermost aggregation leaves."""
    expr = promql_parser.parse(promql)
    while isinstance(expr, promql_parser.BinaryExpr):
        expr = expr.lhs
    assert isinstance(expr, promql_parser.AggregateExpr)
    assert expr.modifier
    return set(expr.modifier.labels)


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[name for name, _ in QUERIES])
def test_what_every_gateway_tells_alike_is_not_added_up(query: str) -> None:
    ledgers = [each for each in named_in(query) if each.metric in LEDGER]

    assert all(each.first_aggregation == "max" for each in ledgers)


