"""What a dashboard is made of. How Grafana writes it is in grafana.py."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["none", "s", "bytes", "percentunit", "reqps", "ops", "short"]
"""As Grafana names them; `ops` is per second, `percentunit` is a share of 1."""


@dataclass(frozen=True)
class Query:
    promql: str
    """With `HERE` for the matchers that are the dashboard's."""
    legend: str
    """With `{{label}}` for the series' labels."""


@dataclass(frozen=True)
class Panel:
    title: str
    unit: Unit
    says: str
    """What a bad value means, and what to do about it."""
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class Figure(Panel):
    """One number, now."""

    bad_above: float | None = None
    """It is red from here on."""
    bad_below: float | None = None


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice above the panels: some of a label's values or all, series without the label included."""

    label: str
    of: str
    """Selector of the series that have it."""


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    says: str
    variables: tuple[Variable, ...]
    here: str
    """Matchers of its variables."""
    rows: tuple[Row, ...]


SERVER = Variable("server", "printworks_ledger_up")


def plot(title: str, unit: Unit, says: str, *queries: tuple[str, str]) -> Panel:
    """Each query is its PromQL and the legend of its series."""
    return Panel(title, unit, says, tuple(Query(*query) for query in queries))


def quantiles(title: str, metric: str, says: str, *, by: str = "", where: str = "") -> Panel:
    """Median and 95th percentile of a histogram in seconds."""
    labels = f"le, {by}" if by else "le"
    name = f" {{{{{by}}}}}" if by else ""
    buckets = f"sum by ({labels}) (rate({metric}_bucket{{HERE{where}}}[$__rate_interval]))"
    wanted = ((0.5, "median"), (0.95, "95 %"))
    queries = (Query(f"histogram_quantile({share}, {buckets})", word + name) for share, word in wanted)
    return Panel(title, "s", says, tuple(queries))
