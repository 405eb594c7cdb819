"""What the chart has Prometheus scrape, and the labels that its targets have then."""

import re
from collections.abc import Mapping, Sequence

import pytest

from tests.support.chart import ALL, Object, Rendered, changed, environment_in, joined, pod_of, render
from tests.support.known_metrics import OF_SCRAPING, metrics_told

WATCHED = joined(ALL, {"serverName": "studio-1"})
KINDS = ("ServiceMonitor", "PodMonitor")
GIVEN = {each: each for each in ("namespace", "service", "pod", "container", "endpoint", "job", "instance")}
"""Labels that the operator gives targets before the monitor's own relabelings."""
META = "__meta_kubernetes_pod_"


def monitors(rendered: Rendered) -> list[Object]:
    return [each for kind in KINDS for each in rendered.of_kind(kind)]


def endpoint(monitor: Object) -> Object:
    spec = monitor["spec"]
    (found,) = spec["endpoints"] if monitor["kind"] == "ServiceMonitor" else spec["podMetricsEndpoints"]
    return dict(found)


def target(monitor: Object, *, phase: str = "Running", pool: str = "gpu") -> dict[str, str] | None:
    """Labels that a target has in the end; None: it is not scraped."""
    found = {**GIVEN, f"{META}phase": phase, f"{META}label_printworks_io_pool": pool}
    labels = relabeled(found, endpoint(monitor)["relabelings"])
    return labels and {name: value for name, value in labels.items() if not name.startswith("__")}


def relabeled(labels: Mapping[str, str], relabelings: Sequence[Object]) -> dict[str, str] | None:
    """As Prometheus does it, so far as the chart uses it."""
    found = dict(labels)
    for each in relabelings:
        regex = each.get("regex", "(.*)")
        value = ";".join(found.get(name, "") for name in each.get("sourceLabels", ()))
        match each.get("action", "replace"):
            case "drop":
                if re.fullmatch(regex, value):
                    return None
            case "labeldrop":
                found = {name: kept for name, kept in found.items() if not re.fullmatch(regex, name)}
            case "replace":
                found[each["targetLabel"]] = each.get("replacement", value)
            case other:
                raise NotImplementedError(other)
    return found


def process_of(monitor: Object) -> str:
    labels = target(monitor)
    assert labels
    return labels["process"]


def scraped(rendered: Rendered) -> dict[str, list[Object]]:
    """The pods' templates that each monitor finds, by what it calls their process."""
    pods = list(rendered.pods().values())
    return {
        process_of(monitor): [pod for pod in pods if is_chosen(pod, monitor["spec"]["selector"])]
        for monitor in monitors(rendered)
    }


def is_chosen(thing: Object, selector: Object) -> bool:
    return bool(selector["matchLabels"].items() <= thing["metadata"]["labels"].items())


def test_every_process_is_scraped_by_the_name_that_starts_it() -> None:
    found = scraped(render(WATCHED))

    started = {
        process: {pod["spec"]["containers"][0]["args"][-1] for pod in pods} for process, pods in found.items()
    }
    assert started == {name: {name} for name in ("gateway", "gpu-worker", "dispatcher", "flower")}
    assert len(found["gpu-worker"]) == len(WATCHED["pools"])


def test_monitors_ask_ports_that_there_are() -> None:
    rendered = render(WATCHED)

    for monitor in rendered.of_kind("PodMonitor"):
        for pod in scraped(rendered)[process_of(monitor)]:
            ports = [each["name"] for each in pod["spec"]["containers"][0]["ports"]]
            assert endpoint(monitor)["port"] in ports
    for monitor in rendered.of_kind("ServiceMonitor"):
        (service,) = (
            each for each in rendered.of_kind("Service") if is_chosen(each, monitor["spec"]["selector"])
        )
        assert endpoint(monitor)["port"] in [each["name"] for each in service["spec"]["ports"]]


def test_flower_is_scraped_only_where_it_runs() -> None:
    assert "flower" not in scraped(render(changed("flower.enabled", False, WATCHED)))


def test_targets_have_the_labels_that_queries_know_and_the_names_that_processes_have() -> None:
    rendered = render(WATCHED)

    for monitor in monitors(rendered):
        labels = target(monitor)
        assert labels
        assert labels.keys() - GIVEN.keys() <= OF_SCRAPING
        assert labels["server"] == "studio-1"
    told = environment_in(rendered, pod_of(rendered, "gateway")["spec"]["containers"][0])
    assert told["PRINTWORKS_SERVER_NAME"] == "studio-1"


def test_no_label_of_a_metric_is_pushed_aside_by_one_of_its_target() -> None:
    """Prometheus would call it `exported_...`. Both say the same of the process."""
    clashes = set()
    for monitor in monitors(render(WATCHED)):
        labels = target(monitor)
        assert labels
        process = labels["process"]
        for metric, of_metric in metrics_told(process).items():
            clashes |= {(metric, label) for label in of_metric & labels.keys()}

    assert clashes == {("printworks_info", "process")}


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_a_pod_is_scraped_from_when_it_has_begun(phase: str) -> None:
    """One that waits for a node, or fetches models first, is none that does not answer."""
    found = [target(monitor, phase=phase) is not None for monitor in monitors(render(WATCHED))]

    assert found == [phase != "Pending"] * 4


def test_workers_are_told_apart_by_the_pool_that_they_say_they_are_of() -> None:
    rendered = render(WATCHED)
    workers = rendered.one("PodMonitor", "pw-printworks-worker")

    for pod in scraped(rendered)["gpu-worker"]:
        said = pod["metadata"]["labels"]["printworks.io/pool"]
        labels = target(workers, pool=said)
        assert labels
        told = environment_in(rendered, pod["spec"]["containers"][0])["PRINTWORKS_POOL"]
        assert labels["pool"] == said == told


def test_a_server_without_a_name_is_known_by_the_name_that_its_processes_have() -> None:
    rendered = render(changed("serverName", "", WATCHED))

    named = environment_in(rendered, pod_of(rendered, "gateway")["spec"]["containers"][0])
    labels = [target(each) for each in monitors(rendered)]
    assert {each["server"] for each in labels if each} == {named["PRINTWORKS_SERVER_NAME"]}
