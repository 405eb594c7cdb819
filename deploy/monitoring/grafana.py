"""A dashboard as Grafana's JSON: where each panel lies, and all that is the same in every one of them."""

from collections.abc import Iterator
from typing import Any

from deploy.monitoring.panels import Dashboard, Figure, Panel, Variable

Json = dict[str, Any]

SCHEMA_VERSION = 41
COLUMNS = 24
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
FIGURE_SIZE = (4, 4)
PLOT_SIZE = (8, 8)


def as_json(dashboard: Dashboard) -> Json:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.says,
        "tags": ["printworks"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["printworks"], "title": "Printworks", "asDropdown": True}],
        "templating": {"list": [_datasource(), *map(_variable, dashboard.variables)]},
        "panels": list(_laid_out(dashboard)),
    }


def _datasource() -> Json:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(variable: Variable) -> Json:
    return {
        "name": variable.label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": f"label_values({variable.of}, {variable.label})", "refId": variable.label},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _laid_out(dashboard: Dashboard) -> Iterator[Json]:
    """From left to right; a panel that does not fit begins a line of its own."""
    number, top = 0, 0
    for row in dashboard.rows:
        number += 1
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": []} | _at(
            0, top, (COLUMNS, 1)
        )
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            size = FIGURE_SIZE if isinstance(panel, Figure) else PLOT_SIZE
            if left + size[0] > COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            yield {"id": number} | _panel(panel, dashboard.here) | _at(left, top, size)
            left, height = left + size[0], max(height, size[1])
        top += height


def _at(left: int, top: int, size: tuple[int, int]) -> Json:
    return {"gridPos": {"x": left, "y": top, "w": size[0], "h": size[1]}}


def _panel(panel: Panel, here: str) -> Json:
    is_figure = isinstance(panel, Figure)
    return {
        "type": "stat" if is_figure else "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": letter,
                "expr": query.promql.replace("HERE", here),
                "legendFormat": query.legend,
                "instant": is_figure,
            }
            for letter, query in zip("ABCD", panel.queries, strict=False)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _figure_options() if is_figure else _plot_options(),
    }


def _defaults(panel: Panel) -> Json:
    defaults: Json = {"unit": panel.unit, "min": 0}
    if isinstance(panel, Figure):
        return defaults | {"thresholds": {"mode": "absolute", "steps": _steps(panel)}}
    if panel.unit == "percentunit":
        defaults["max"] = 1
    return defaults | {"custom": {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}}


def _steps(figure: Figure) -> list[Json]:
    """Colours from the value on that each has."""
    if figure.bad_below is not None:
        return [{"color": "red", "value": None}, {"color": "green", "value": figure.bad_below}]
    steps: list[Json] = [{"color": "green", "value": None}]
    if figure.bad_above is not None:
        steps.append({"color": "red", "value": figure.bad_above})
    return steps


def _figure_options() -> Json:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background",
    }


def _plot_options() -> Json:
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
