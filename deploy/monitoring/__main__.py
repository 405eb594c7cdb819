"""Write all dashboards to deploy/dashboards."""

import json
from pathlib import Path

from deploy.monitoring import autoscaling, cluster, gpus, webhooks
from deploy.monitoring.grafana import as_json
from deploy.monitoring.panels import Dashboard

FOLDER = Path(__file__).resolve().parent.parent / "dashboards"
DASHBOARDS = (cluster.DASHBOARD, gpus.DASHBOARD, webhooks.DASHBOARD, autoscaling.DASHBOARD)


def text(dashboard: Dashboard) -> str:
    return json.dumps(as_json(dashboard), indent=2) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (FOLDER / f"{each.uid}.json").write_text(text(each))
