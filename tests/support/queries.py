"""What a PromQL query names. ValueError: Prometheus would not understand it."""

from dataclasses import dataclass

import promql_parser as syntax


@dataclass(frozen=True)
class Named:
    """A metric, as a query uses it."""

    metric: str
    labels: frozenset[str]
    """Those that it is chosen by, and those that it is grouped by."""
    first_aggregation: str
    """What brings its series together first: `max`, `sum`, ..., or nothing."""


def named_in(promql: str) -> list[Named]:
    found: list[Named] = []
    _look(syntax.parse(promql), frozenset(), "", found)
    return found


def labels_left(promql: str) -> set[str] | None:
    """Labels that its outermost aggregation leaves; None if it has none."""
    expr: syntax.Expr = syntax.parse(promql)
    while not isinstance(expr, syntax.AggregateExpr):
        match expr:
            case syntax.BinaryExpr():
                expr = expr.lhs
            case syntax.ParenExpr():
                expr = expr.expr
            case syntax.Call() if expr.func.name == "histogram_quantile":
                return (labels_left(expr.args[1].prettify()) or set()) - {"le"}
            case _:
                return None
    if str(expr.op) == "topk":
        return labels_left(expr.expr.prettify())
    return set(expr.modifier.labels) if expr.modifier else set()


def _look(expr: syntax.Expr, grouped: frozenset[str], first: str, found: list[Named]) -> None:
    if isinstance(expr, syntax.VectorSelector):
        assert expr.name
        chosen = {each.name for each in expr.matchers.matchers}
        found.append(Named(expr.name, grouped | chosen, first))
    if isinstance(expr, syntax.AggregateExpr):
        grouped |= frozenset(expr.modifier.labels if expr.modifier else ())
        first = str(expr.op)
    for inner in _inner(expr):
        _look(inner, grouped, first, found)


def _inner(expr: syntax.Expr) -> list[syntax.Expr]:
    match expr:
        case syntax.MatrixSelector():
            return [expr.vector_selector]
        case syntax.Call():
            return expr.args
        case syntax.BinaryExpr():
            return [expr.lhs, expr.rhs]
        case syntax.AggregateExpr() | syntax.ParenExpr() | syntax.UnaryExpr():
            return [expr.expr]
    return []
