"""The chart, rendered by Helm's own engine, and its objects as tests look at them."""

import copy
import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import helm_python
import pytest
import yaml

from deploy.chart import CHART
from shared.settings import Settings

Values = dict[str, Any]
Object = dict[str, Any]

LEAST: Values = {
    "secrets": {"apiKey": {"value": "a key"}, "secretKey": {"value": "what seals"}},
    "redis": {"password": {"value": "pass-word"}},
}
"""Without these nothing is rendered."""
EVERYTHING: Values = {
    "secrets": {
        "apiKeysFile": {"value": "[]"},
        "webhookSecret": {"existingSecret": "webhooks"},
        "hubToken": {"value": "hub token"},
        "peers": {"value": "{}"},
    },
    "models": {"list": [{"kind": "checkpoint", "id": "sdxl", "hub": "someone/sdxl"}]},
    "gateway": {
        "autoscaling": {"enabled": True},
        "ingress": {"enabled": True, "hosts": ["images.example.com"], "tlsSecret": "certificate"},
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "public"}],
            "hostnames": ["images.example.com"],
        },
    },
    "flower": {"enabled": True, "auth": {"value": "somebody:something"}},
    "poolDefaults": {"pdb": {"enabled": True}},
    "pools": [
        {"name": "gpu", "sharedMemory": "1Gi", "autoscaling": {"enabled": True}},
        {"name": "cpu", "gpu": {"count": 0}},
    ],
    "monitoring": {
        "prometheusAddress": "http://prometheus:9090",
        **{part: {"enabled": True} for part in ("monitors", "rules", "dashboards")},
    },
}
"""Every template that is off by default is on, together with LEAST."""
NODE_CACHE: Values = {"models": {"cache": {"type": "hostPath"}}}
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))


@dataclass(frozen=True)
class Rendered:
    """All objects of one release, and the notes for who installs it."""

    objects: tuple[Object, ...]
    notes: str

    def of_kind(self, kind: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, name: str) -> Object:
        (found,) = (each for each in self.of_kind(kind) if each["metadata"]["name"] == name)
        return found

    def pods(self) -> dict[str, Object]:
        """The pods' templates, by the names of what makes them."""
        makers = (each for each in self.objects if "template" in each.get("spec", {}))
        return {each["metadata"]["name"]: each["spec"]["template"] for each in makers}


def render(values: Values, *, name: str = "pw", namespace: str = "studio", folder: Path = CHART) -> Rendered:
    """Raises `helm_python.HelmError` for values that are refused."""
    return _rendered(json.dumps(values, sort_keys=True), name, namespace, folder)


def refusal(values: Values) -> str:
    """The sentences, or nothing if they are taken."""
    try:
        render(values)
    except helm_python.HelmError as exc:
        return str(exc)
    return ""


def joined(*layers: Values) -> Values:
    """Later ones go before, as with several files of values."""
    whole: Values = {}
    for layer in layers:
        _join(whole, copy.deepcopy(layer))
    return whole


def changed(path: str, value: Any, base: Values) -> Values:
    """With one value, named like `gateway.ingress.enabled`."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return joined(base, value)


def example(file: Path) -> Values:
    return cast(Values, yaml.safe_load(file.read_text()))


def containers(pod: Object) -> Iterator[Object]:
    yield from pod["spec"].get("initContainers", ())
    yield from pod["spec"]["containers"]


def pod_of(rendered: Rendered, name: str) -> Object:
    return rendered.pods()[f"pw-printworks-{name}"]


def main_container(rendered: Rendered, name: str) -> Object:
    found: Object = pod_of(rendered, name)["spec"]["containers"][0]
    return found


def environment_in(rendered: Rendered, container: Object) -> dict[str, str]:
    """As the process sees it: with the ConfigMap's and the Secret's values, and `$(NAME)` replaced."""
    known: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        known |= rendered.one("ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container["env"]:
        known[variable["name"]] = _value_of(rendered, variable, known)
    return known


def settings_in(rendered: Rendered, container: Object, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Parsed by the project itself."""
    for name, value in environment_in(rendered, container).items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def _value_of(rendered: Rendered, variable: Object, known: Mapping[str, str]) -> str:
    if "value" in variable:
        return re.sub(r"\$\((\w+)\)", lambda found: known[found[1]], variable["value"])
    if "resourceFieldRef" in variable["valueFrom"]:
        return "4"
    key = variable["valueFrom"]["secretKeyRef"]
    if key["name"] != "pw-printworks":
        return f"{key['key']} of {key['name']}"
    value: str = rendered.one("Secret", key["name"])["stringData"][key["key"]]
    return value


def _join(whole: Values, layer: Mapping[str, Any]) -> None:
    for name, value in layer.items():
        if isinstance(value, dict) and isinstance(whole.get(name), dict):
            _join(whole[name], value)
        else:
            whole[name] = value


@functools.cache
def _chart(folder: Path) -> helm_python.Chart:
    return helm_python.Chart.load(folder)


@functools.cache
def _rendered(values: str, name: str, namespace: str, folder: Path) -> Rendered:
    files = _chart(folder).render(json.loads(values), name=name, namespace=namespace)
    notes = next(text for file, text in files.items() if file.endswith("NOTES.txt"))
    manifests = [text for file, text in files.items() if file.endswith(".yaml")]
    objects = [each for text in manifests for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    return Rendered(tuple(objects), notes)


ALL = joined(LEAST, EVERYTHING)
