"""What a PromQL query names."""

from dataclasses import dataclass

import promql_parser as syntax


@dataclass(frozen=True)
class Named:
    """A metric, as a query uses it."""

    metric: str
    labels: frozenset[str]
    """Those it is chosen by, and those it is grouped by."""
    first_aggregation: str
    """What brings its series together first: `max`, `sum`, ..., or nothing."""


def named_in(promql: str) -> list[Named]:
    """Raises ValueError if Prometheus would not understand it."""
    found: list[Named] = []
    _look(syntax.parse(promql), frozenset(), "", found)
    return found


def _look(expr: syntax.Expr, grouped: frozenset[str], first: str, found: list[Named]) -> None:
    match expr:
        case syntax.VectorSelector():
            chosen = {each.name for each in expr.matchers.matchers}
            assert expr.name
            found.append(Named(expr.name, grouped | chosen, first))
        case syntax.MatrixSelector():
            _look(expr.vector_selector, grouped, first, found)
        case syntax.AggregateExpr():
            labels = frozenset(expr.modifier.labels if expr.modifier else ())
            _look(expr.expr, grouped | labels, str(expr.op), found)
        case syntax.Call():
            for argument in expr.args:
                _look(argument, grouped, first, found)
        case syntax.BinaryExpr():
            for side in (expr.lhs, expr.rhs):
                _look(side, grouped, first, found)
        case syntax.ParenExpr() | syntax.UnaryExpr():
            _look(expr.expr, grouped, first, found)
