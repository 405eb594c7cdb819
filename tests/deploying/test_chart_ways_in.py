"""How requests come to the chart's pods, and which."""

import functools

from pydantic import SecretStr

from api.app import create_app
from shared.settings import Settings
from tests.support.chart import (
    ALL,
    main_container,
    render,
)

PROCESSES = ("gateway", "dispatcher", "flower", "worker-gpu", "worker-cpu")


def test_services_lead_to_the_pods_of_their_component_alone() -> None:
    rendered = render(ALL)

    for service in rendered.of_kind("Service"):
        (port,) = service["spec"]["ports"]
        chosen = {
            name: pod
            for name, pod in rendered.pods().items()
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        }
        assert list(chosen) == [service["metadata"]["name"]]
        ports = [each["name"] for pod in chosen.values() for each in pod["spec"]["containers"][0]["ports"]]
        assert port["targetPort"] in ports


def test_the_api_goes_out_and_nothing_else() -> None:
    rendered = render(ALL)
    (ingress,) = rendered.of_kind("Ingress")
    (route,) = rendered.of_kind("HTTPRoute")
    by_ingress = {
        (each["path"], each["pathType"] == "Prefix") for each in ingress["spec"]["rules"][0]["http"]["paths"]
    }
    by_route = {
        (match["path"]["value"], match["path"]["type"] == "PathPrefix")
        for match in route["spec"]["rules"][0]["matches"]
    }

    inside = {path for path in served() if not any(_lets(path, *each) for each in by_ingress)}

    assert by_ingress == by_route
    assert inside == {"/health/live", "/health/ready", "/metrics"}
    assert all(any(_lets(path, *each) for path in served()) for each in by_ingress)


def test_probes_ask_what_the_processes_answer() -> None:
    """Those of workers and dispatchers answer the same paths at their port for metrics."""
    rendered = render(ALL)

    for name in PROCESSES:
        container = main_container(rendered, name)
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] in ports
            assert asked["path"] in served() or (name, asked["path"]) == ("flower", "/healthcheck")


def _lets(path: str, allowed: str, is_prefix: bool) -> bool:
    return path == allowed or (is_prefix and path.startswith(f"{allowed}/"))


@functools.cache
def served() -> frozenset[str]:
    """All paths that a gateway answers."""
    app = create_app(Settings(api_key=SecretStr("a key")))
    return frozenset((*app.openapi()["paths"], str(app.docs_url), str(app.openapi_url)))
