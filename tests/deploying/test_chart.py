"""What the chart renders is what Kubernetes takes, with everything on and with everything off."""

from pathlib import Path

import helm_python
import pytest

from deploy.chart import CHART
from shared.version import VERSION
from tests.support.chart import (
    EVERYTHING,
    EXAMPLES,
    LEAST,
    Rendered,
    Values,
    changed,
    example,
    joined,
    render,
)
from tests.support.kubernetes import VERSIONS, flaws

RELEASES: dict[str, Values] = {
    "least": LEAST,
    "everything": joined(LEAST, EVERYTHING),
    "node-cache": joined(LEAST, EVERYTHING, {"models": {"cache": {"type": "hostPath"}}}),
    "sentinel": joined(
        LEAST, {"redis": {"mode": "sentinel", "sentinel": {"hosts": ["a:26379"], "master": "main"}}}
    ),
    "external": joined(LEAST, {"redis": {"mode": "external", "external": {"url": {"value": "redis://r/0"}}}}),
    **{file.stem: example(file) for file in EXAMPLES},
}
SWITCHES = {
    "serviceAccount.create": "ServiceAccount/pw-printworks",
    "networkPolicy.enabled": "NetworkPolicy/pw-printworks-closed",
    "flower.enabled": "Deployment/pw-printworks-flower",
    "gateway.autoscaling.enabled": "HorizontalPodAutoscaler/pw-printworks-gateway",
    "gateway.ingress.enabled": "Ingress/pw-printworks-gateway",
    "gateway.httpRoute.enabled": "HTTPRoute/pw-printworks-gateway",
    "gateway.pdb.enabled": "PodDisruptionBudget/pw-printworks-gateway",
    "dispatcher.pdb.enabled": "PodDisruptionBudget/pw-printworks-dispatcher",
    "poolDefaults.pdb.enabled": "PodDisruptionBudget/pw-printworks-worker-gpu",
}


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> Rendered:
    return render(RELEASES[request.param])


def names(rendered: Rendered) -> list[str]:
    return [f"{each['kind']}/{each['metadata']['name']}" for each in rendered.objects]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_one_of_that_kubernetes(release: Rendered, version: str) -> None:
    wrong = [(each["kind"], each["metadata"]["name"], flaws(each, version)) for each in release.objects]

    assert [found for found in wrong if found[2]] == []


def test_no_two_objects_are_the_same(release: Rendered) -> None:
    assert len(set(names(release))) == len(release.objects)


def test_the_linter_finds_nothing_but_that_there_is_no_icon() -> None:
    for values in RELEASES.values():
        report = helm_python.lint(CHART, values, strict=True)
        assert [each["error"] for each in report["messages"]] == ["icon is recommended"]
        assert report["errors"] == []


def test_every_template_makes_something_and_is_not_always_on() -> None:
    """But for what no release is without."""
    always = {"check-values.yaml", "NOTES.txt", "settings.yaml"}
    always |= {"gateway/deployment.yaml", "gateway/service.yaml", "dispatcher/deployment.yaml"}
    least = {
        "secrets": {"apiKey": {"existingSecret": "a"}, "secretKey": {"existingSecret": "a"}},
        "redis": {"mode": "external", "external": {"url": {"existingSecret": "a"}}},
        "serviceAccount": {"create": False},
        "networkPolicy": {"enabled": False},
        "data": {"claim": {"existingClaim": "data"}},
        "models": {"cache": {"type": "emptyDir"}},
        "gateway": {"pdb": {"enabled": False}},
        "dispatcher": {"pdb": {"enabled": False}},
        "pools": [{"name": "none", "enabled": False}],
    }

    on, off = (written(values) for values in (joined(LEAST, EVERYTHING), least))

    templates = {str(file.relative_to(CHART / "templates")) for file in (CHART / "templates").rglob("*.yaml")}
    assert on | {"check-values.yaml"} == templates | {"NOTES.txt"}
    assert off | {"check-values.yaml"} == always


def written(values: Values) -> set[str]:
    """Templates that make something."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values, name="pw")
    return {name.partition("/templates/")[2] for name, text in files.items() if text.strip()}


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_adds_and_takes_away_its_object(switch: str) -> None:
    everything = joined(LEAST, EVERYTHING)

    on, off = (names(render(changed(switch, value, everything))) for value in (True, False))

    assert SWITCHES[switch] in on
    assert SWITCHES[switch] not in off


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_has_as_many_gpus_as_it_says(file: Path) -> None:
    rendered = render(example(file))
    workers = [
        each
        for each in rendered.of_kind("Deployment")
        if each["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"
    ]
    scaled = rendered.of_kind("ScaledObject")
    most = {each["spec"]["scaleTargetRef"]["name"]: each["spec"]["maxReplicaCount"] for each in scaled}
    gpus = 0
    for worker in workers:
        limits = worker["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        replicas = worker["spec"].get("replicas") or most[worker["metadata"]["name"]]
        gpus += replicas * sum(count for name, count in limits.items() if name.startswith("nvidia.com/"))

    assert gpus == {"one-gpu": 1, "eight-gpus": 8, "two-hundred-gpus": 200}[file.stem]


def test_the_chart_is_of_the_project_s_version() -> None:
    with helm_python.Chart.load(CHART) as chart:
        assert (chart.metadata["version"], chart.metadata["appVersion"]) == (VERSION, VERSION)
        assert chart.metadata["kubeVersion"] == f">={VERSIONS[0]}-0"


def test_a_long_name_is_cut_so_that_all_names_fit() -> None:
    rendered = render(joined(LEAST, EVERYTHING), name="a" * 53)

    longest = max(len(each["metadata"]["name"]) for each in rendered.objects)
    assert longest <= 63


def test_labels_and_annotations_of_all_are_on_all() -> None:
    everything = joined(
        LEAST, EVERYTHING, {"commonLabels": {"team": "images"}, "commonAnnotations": {"owner": "studio"}}
    )
    rendered = render(everything)

    assert all(each["metadata"]["labels"]["team"] == "images" for each in rendered.objects)
    assert all(each["metadata"]["annotations"]["owner"] == "studio" for each in rendered.objects)
    assert all(pod["metadata"]["labels"]["team"] == "images" for pod in rendered.pods().values())


def test_the_notes_say_how_to_ask_for_a_picture() -> None:
    notes = render(LEAST).notes
    outside = render(joined(LEAST, EVERYTHING)).notes

    assert "port-forward service/pw-printworks-gateway 8000:80" in notes
    assert "get secret pw-printworks -o go-template='{{index .data \"api-key\" | base64decode}}'" in notes
    assert "/api/v1/enterprise/text2img" in notes
    assert "URL=https://images.example.com" in outside
    assert "port-forward service/pw-printworks-flower 5555" in outside
    assert "pass-word" not in notes + outside
    assert "something" not in outside
