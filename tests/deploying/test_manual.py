"""What the manual tells to type for Kubernetes does what it says, as far as can be told without a cluster."""

import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.chart import CHART
from tests.support.chart import LEAST, Values, changed, joined, render

PROJECT = CHART.parents[1]
OWN = "values.yaml"
"""Of who reads the manual."""
PAGES = {page.name + page.parent.name: page for page in (PROJECT / "docs/OPERATIONS.md", CHART / "README.md")}


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The words of each command of a shell block that begins with `program`."""
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(f"{program} "):
                yield shlex.split(line)


def options(words: list[str], name: str) -> list[str]:
    return [value for word, value in itertools.pairwise(words) if word == f"--{name}"]


def said(words: list[str]) -> Values:
    """The values that a command gives."""
    values: Values = {}
    for file in options(words, "values"):
        values = joined(values, LEAST if file == OWN else yaml.safe_load((PROJECT / file).read_text()))
    for pair in options(words, "set"):
        path, _, value = pair.partition("=")
        values = changed(path, value, values)
    return values


INSTALLS = [
    pytest.param(words, id=" ".join(words[1:5]) + f" #{number}")
    for page in PAGES.values()
    for number, words in enumerate(commands(page, "helm"))
    if words[1] in ("install", "upgrade")
]


@pytest.mark.parametrize("words", INSTALLS)
def test_what_the_manual_installs_is_rendered(words: list[str]) -> None:
    values = said(words)
    is_whole = "secrets" in values

    rendered = render(values if is_whole else joined(LEAST, values))

    assert words[words.index("printworks") + 1] == "helm/printworks"
    assert rendered.of_kind("Deployment")
    images = {c["image"] for pod in rendered.pods().values() for c in pod["spec"]["containers"]}
    for option in options(words, "set"):
        if "tag=" in option:
            assert any(image.endswith(":" + option.partition("=")[2]) for image in images)


def test_the_manual_installs_and_updates() -> None:
    assert len(INSTALLS) >= 3


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_secret_that_the_manual_makes_has_all_that_the_installation_after_it_reads(page: Path) -> None:
    (making,) = (words for words in commands(page, "kubectl") if "secret" in words)
    name = making[making.index("generic") + 1]
    made = {
        word.removeprefix("--from-literal=").partition("=")[0]
        for word in making
        if word.startswith("--from-literal")
    }
    install = next(words for words in commands(page, "helm") if {"install", "--install"} & set(words))

    read = {
        reference["key"]
        for pod in render(said(install)).pods().values()
        for container in pod["spec"]["containers"]
        for variable in container.get("env", ())
        if (reference := variable.get("valueFrom", {}).get("secretKeyRef"))
    }

    assert name in str(said(install))
    assert read <= made


def test_the_manual_selects_what_there_is() -> None:
    page = (PROJECT / "docs/OPERATIONS.md").read_text()
    selected = set(re.findall(r"app\.kubernetes\.io/component=([a-z-]+)", page))
    pods = render(joined(LEAST, {"flower": {"enabled": True, "auth": {"value": "a:b"}}})).pods().values()

    components = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods}

    assert selected
    assert selected <= components


def test_every_example_is_in_the_manual_and_no_other() -> None:
    page = (PROJECT / "docs/OPERATIONS.md").read_text()

    assert set(re.findall(r"^\| `([a-z-]+\.yaml)` \|", page, re.M)) == {
        file.name for file in (CHART / "examples").glob("*.yaml")
    }


def test_every_module_that_the_manual_runs_is_there() -> None:
    page = (PROJECT / "docs/OPERATIONS.md").read_text()
    modules = set(re.findall(r"python -m ([\w.]+)", page))

    assert modules
    assert not [module for module in modules if importlib.util.find_spec(module) is None]
