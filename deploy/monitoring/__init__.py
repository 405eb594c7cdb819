"""The Grafana dashboards, as the few words that differ from panel to panel.

`python -m deploy.monitoring` writes them as Grafana reads them, to deploy/dashboards.
"""
