"""Answers PromQL from series that a test makes up: as much of the language as our rules use.

Parsing is promql-parser's. What is not known here raises, so that no query is half understood.
"""

import math
import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import promql_parser as syntax

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Samples = Sequence[tuple[float, float]]
"""Time in seconds and value, the oldest first."""

STALE_AFTER_S = 300.0
STALE = math.nan
"""The sample that says that there are no more."""
NAME = "__name__"


def labels(**given: str) -> Labels:
    return frozenset(given.items())


@dataclass(frozen=True)
class Moment:
    """All series, and when they are looked at."""

    series: Mapping[Labels, Samples]
    at_s: float

    def answer(self, promql: str) -> Vector:
        return self._vector(syntax.parse(promql))

    def _vector(self, expr: syntax.Expr) -> Vector:
        match expr:
            case syntax.ParenExpr():
                return self._vector(expr.expr)
            case syntax.VectorSelector():
                found = self._within(expr, STALE_AFTER_S)
                latest = {each: samples[-1][1] for each, samples in found.items()}
                return {each: value for each, value in latest.items() if not math.isnan(value)}
            case syntax.Call():
                return self._call(expr)
            case syntax.AggregateExpr():
                return _aggregate(expr, self._vector(expr.expr))
            case syntax.BinaryExpr():
                return self._binary(expr)
        raise NotImplementedError(expr.prettify())

    def _within(self, selector: syntax.VectorSelector, range_s: float) -> dict[Labels, Samples]:
        found = {}
        for each, samples in self.series.items():
            if _is_selected(selector, dict(each)):
                first = bisect_right(samples, (self.at_s - range_s, math.inf))
                found[each] = samples[first : bisect_right(samples, (self.at_s, math.inf))]
        return {each: samples for each, samples in found.items() if samples}

    def _call(self, call: syntax.Call) -> Vector:
        name, arguments = call.func.name, call.args
        if name in RANGE_FUNCTIONS:
            (matrix,) = arguments
            range_s = matrix.range.total_seconds()
            window = (self.at_s - range_s, self.at_s)
            found = self._within(matrix.vector_selector, range_s)
            of = RANGE_FUNCTIONS[name]
            told = {each: [one for one in all_of if not math.isnan(one[1])] for each, all_of in found.items()}
            values = {each: of(samples, window) for each, samples in told.items() if samples}
            keeps_name = name == "last_over_time"
            return {
                each if keeps_name else _without(each, {NAME}): value
                for each, value in values.items()
                if value is not None
            }
        if name == "absent":
            return {} if self._vector(arguments[0]) else {_told(arguments[0]): 1.0}
        if name == "vector":
            return {labels(): arguments[0].val}
        if name == "histogram_quantile":
            return _quantiles(arguments[0].val, self._vector(arguments[1]))
        raise NotImplementedError(name)

    def _binary(self, expr: syntax.BinaryExpr) -> Vector:
        op, key = str(expr.op), _matching(expr.modifier)
        if op in SET_OPERATORS:
            return SET_OPERATORS[op](self._vector(expr.lhs), self._vector(expr.rhs), key)
        left, right = _number(expr.lhs), _number(expr.rhs)
        if right is not None:
            pairs = [(each, value, right) for each, value in self._vector(expr.lhs).items()]
        elif left is not None:
            pairs = [(each, left, value) for each, value in self._vector(expr.rhs).items()]
        else:
            others = {key(each): value for each, value in self._vector(expr.rhs).items()}
            mine = self._vector(expr.lhs)
            pairs = [(each, value, others[key(each)]) for each, value in mine.items() if key(each) in others]
        if op in COMPARISONS:
            return {each: a if left is None else b for each, a, b in pairs if COMPARISONS[op](a, b)}
        result = {}
        for each, a, b in pairs:
            kept = _without(each, {NAME}) if left is not None or right is not None else key(each)
            result[kept] = ARITHMETIC[op](a, b)
        return result


def _is_selected(selector: syntax.VectorSelector, found: Mapping[str, str]) -> bool:
    if selector.name and found[NAME] != selector.name:
        return False
    return all(_matches(each, found.get(each.name, "")) for each in selector.matchers.matchers)


def _matches(matcher: syntax.Matcher, value: str) -> bool:
    if matcher.op in (syntax.MatchOp.Equal, syntax.MatchOp.NotEqual):
        return (value == matcher.value) is (matcher.op == syntax.MatchOp.Equal)
    return (re.fullmatch(matcher.value, value) is not None) is (matcher.op == syntax.MatchOp.Re)


def _without(found: Labels, names: Iterable[str]) -> Labels:
    return frozenset((name, value) for name, value in found if name not in names)


def _only(found: Labels, names: Iterable[str]) -> Labels:
    return frozenset((name, value) for name, value in found if name in names)


def _told(expr: syntax.Expr) -> Labels:
    """What a selector says of the series that is absent."""
    assert isinstance(expr, syntax.VectorSelector)
    equal = [each for each in expr.matchers.matchers if each.op == syntax.MatchOp.Equal]
    return frozenset((each.name, each.value) for each in equal)


def _matching(modifier: syntax.BinModifier | None) -> Callable[[Labels], Labels]:
    if modifier is None or modifier.matching is None:
        return lambda found: _without(found, {NAME})
    names = set(modifier.matching.labels)
    if modifier.matching.type == syntax.LabelModifierType.Include:
        return lambda found: _only(found, names)
    return lambda found: _without(found, names | {NAME})


def _number(expr: syntax.Expr) -> float | None:
    return expr.val if isinstance(expr, syntax.NumberLiteral) else None


def _aggregate(expr: syntax.AggregateExpr, vector: Vector) -> Vector:
    by = expr.modifier.labels if expr.modifier else []
    assert expr.modifier is None or expr.modifier.type == syntax.AggModifierType.By
    groups: dict[Labels, list[float]] = {}
    for each, value in vector.items():
        groups.setdefault(_only(each, by), []).append(value)
    return {each: AGGREGATIONS[str(expr.op)](values) for each, values in groups.items()}


def _grown(samples: Samples) -> float:
    """By how much a counter has, over its restarts."""
    return sum(after - before if after >= before else after for (_, before), (_, after) in pairwise(samples))


def _increase(samples: Samples, window: tuple[float, float]) -> float | None:
    """Extrapolated to the ends of the window, but not further than half a scrape, nor to below zero."""
    if len(samples) < 2:
        return None
    (first_s, first), (last_s, _) = samples[0], samples[-1]
    grown, sampled_s = _grown(samples), last_s - first_s
    every_s = sampled_s / (len(samples) - 1)
    before_s, after_s = first_s - window[0], window[1] - last_s
    if grown > 0 and first >= 0:
        before_s = min(before_s, sampled_s * first / grown)
    before_s, after_s = (each if each < every_s * 1.1 else every_s / 2 for each in (before_s, after_s))
    return grown * (sampled_s + before_s + after_s) / sampled_s


def _rate(samples: Samples, window: tuple[float, float]) -> float | None:
    grown = _increase(samples, window)
    return None if grown is None else grown / (window[1] - window[0])


def _changes(samples: Samples, window: tuple[float, float]) -> float:
    return float(sum(before != after for (_, before), (_, after) in pairwise(samples)))


def _quantiles(share: float, buckets: Vector) -> Vector:
    histograms: dict[Labels, dict[float, float]] = {}
    for each, count in buckets.items():
        bound = float(dict(each)["le"])
        histograms.setdefault(_without(each, {"le", NAME}), {})[bound] = count
    found = {each: _quantile(share, sorted(counts.items())) for each, counts in histograms.items()}
    return {each: value for each, value in found.items() if not math.isnan(value)}


def _quantile(share: float, counts: Sequence[tuple[float, float]]) -> float:
    rank, below, count_below = share * counts[-1][1], 0.0, 0.0
    for bound, count in counts:
        if count >= rank and count > 0:
            if math.isinf(bound):
                return below
            return below + (bound - below) * (rank - count_below) / (count - count_below)
        below, count_below = bound, count
    return math.nan


def _and(left: Vector, right: Vector, key: Callable[[Labels], Labels]) -> Vector:
    there = {key(each) for each in right}
    return {each: value for each, value in left.items() if key(each) in there}


def _unless(left: Vector, right: Vector, key: Callable[[Labels], Labels]) -> Vector:
    there = {key(each) for each in right}
    return {each: value for each, value in left.items() if key(each) not in there}


def _or(left: Vector, right: Vector, key: Callable[[Labels], Labels]) -> Vector:
    return left | _unless(right, left, key)


RANGE_FUNCTIONS: dict[str, Callable[[Samples, tuple[float, float]], float | None]] = {
    "rate": _rate,
    "increase": _increase,
    "changes": _changes,
    "last_over_time": lambda samples, _: samples[-1][1],
}
AGGREGATIONS: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "max": max,
    "min": min,
    "avg": lambda values: math.fsum(values) / len(values),
    "count": lambda values: float(len(values)),
}
SET_OPERATORS: dict[str, Callable[[Vector, Vector, Callable[[Labels], Labels]], Vector]] = {
    "and": _and,
    "or": _or,
    "unless": _unless,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
}
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else math.inf * a,
}
