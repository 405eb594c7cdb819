"""The rule file that Prometheus is given, and which of its alerts fire while series are as a test says."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from tests.support.promql import NAME, STALE, Labels, Moment, Samples, labels

FILE = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "alerts.yaml"
EVERY_S = 60
"""How often made-up targets are scraped, and rules looked at."""


@dataclass(frozen=True)
class Rule:
    name: str
    promql: str
    is_alert: bool
    holds_s: float
    annotations: Mapping[str, str]
    severity: str


@cache
def rules() -> tuple[Rule, ...]:
    groups = yaml.safe_load(FILE.read_text())["groups"]
    return tuple(_rule(each) for group in groups for each in group["rules"])


def _rule(said: Mapping[str, Any]) -> Rule:
    return Rule(
        name=said.get("alert") or said["record"],
        promql=said["expr"],
        is_alert="alert" in said,
        holds_s=promql_parser.parse_duration(said["for"]).total_seconds() if "for" in said else 0,
        annotations=said.get("annotations", {}),
        severity=said.get("labels", {}).get("severity", ""),
    )


def alerts() -> tuple[Rule, ...]:
    return tuple(rule for rule in rules() if rule.is_alert)


def firing(series: Mapping[str, str], minutes: int) -> set[tuple[str, Labels]]:
    """Alerts that have held for long enough after so many minutes, with the labels of what they are about."""
    made_up = {_labels(name): _samples(values) for name, values in series.items()}

    @cache
    def moment(at_s: float) -> Moment:
        recorded: dict[Labels, Samples] = {}
        for rule in rules():
            if not rule.is_alert:
                answer = Moment({**made_up, **recorded}, at_s).answer(rule.promql)
                recorded |= {_named(rule.name, each): [(at_s, value)] for each, value in answer.items()}
        return Moment({**made_up, **recorded}, at_s)

    return {
        (alert.name, _about(each))
        for alert in alerts()
        for each in _held(alert, lambda promql, at_s: moment(at_s).answer(promql), minutes * 60)
    }


def _held(alert: Rule, answer: Any, end_s: float) -> set[Labels]:
    """What the alert is about at each evaluation of its time."""
    at_s, held = end_s, set(answer(alert.promql, end_s))
    while held and at_s > end_s - alert.holds_s:
        at_s -= EVERY_S
        held &= set(answer(alert.promql, at_s))
    return held


def _named(name: str, found: Labels) -> Labels:
    return frozenset({*((key, value) for key, value in found if key != NAME), (NAME, name)})


def _about(found: Labels) -> Labels:
    return frozenset((name, value) for name, value in found if name != NAME)


def _labels(series: str) -> Labels:
    """`name{label="value"}`"""
    parsed = promql_parser.parse(series)
    assert isinstance(parsed, promql_parser.VectorSelector)
    assert parsed.name
    return labels(**{NAME: parsed.name}, **{each.name: each.value for each in parsed.matchers.matchers})


def _samples(values: str) -> Samples:
    """`1x3 5+2x4 stale _x2`, one each scrape: a value, again and again, and what is added; that it is
    told no more, nothing."""
    return [(i * EVERY_S, value) for i, value in enumerate(_spelled_out(values)) if value is not None]


def _spelled_out(values: str) -> Iterator[float | None]:
    for part in values.split():
        if part == "stale":
            yield STALE
            continue
        found = re.fullmatch(r"(_|[\d.]+)(?:\+([\d.]+))?x(\d+)", part)
        assert found, part
        first, step, times = found[1], float(found[2] or 0), int(found[3])
        for i in range(times + (first != "_")):
            yield None if first == "_" else float(first) + i * step
