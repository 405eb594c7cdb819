"""What a Dockerfile's steps put into an image, put into a folder: the code by the very same command, the
dependencies as links to those of this environment, and no other."""

import importlib.metadata
import shlex
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.environment import clean_environment
from tests.support.images import Dockerfile, lay_out, project_table


@dataclass(frozen=True)
class Contents:
    """The image's /app and /opt/venv, and what its processes are started with."""

    app: Path
    environment_folder: Path
    variables: dict[str, str]

    def command(self, words: Iterable[str]) -> list[str]:
        """These words of the image, of here."""
        first, *rest = words
        python = str(self.environment_folder / "bin" / "python")
        script = self.app / "bin" / first
        return [python, *rest] if first == "python" else [python, str(script), *rest]

    def environment(self, **variables: str) -> dict[str, str]:
        return {**self.variables, "PYTHONPATH": str(self.app), **variables}


def contents(dockerfile: Dockerfile, folder: Path) -> Contents:
    source, app = folder / "src", folder / "app"
    lay_out([dockerfile["dependencies"], dockerfile["code"]], source)
    (source / "README.md").touch()  # as the builder does
    step = dockerfile["code"].one("RUN").replace("/opt/venv/bin/pip", f"{shlex.quote(sys.executable)} -m pip")
    assert "--target /app" in step
    command = step.replace("--target /app", f"--quiet --target {shlex.quote(str(app))}")
    subprocess.run(["sh", "-c", command], cwd=source, env=clean_environment(), check=True, timeout=120)
    environment = folder / "venv"
    venv.create(environment, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    for name in closure(requirements(dockerfile.extras())):
        _link(importlib.metadata.distribution(name), packages)
    variables = dockerfile.image.environment()
    del variables["PATH"]
    return Contents(app, environment, variables)


def requirements(extras: Iterable[str]) -> list[Requirement]:
    """Of the project with these extras."""
    table = project_table()
    optional = [said for extra in extras for said in table["optional-dependencies"][extra]]
    return [Requirement(said) for said in (*table["dependencies"], *optional)]


def closure(wanted: Iterable[Requirement]) -> set[str]:
    """The names of all distributions that installing these brings."""
    found: set[tuple[str, str]] = set()
    waiting = [each for requirement in wanted for each in _named(requirement)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) not in found:
            found.add((name, extra))
            for said in importlib.metadata.requires(name) or ():
                requirement = Requirement(said)
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    waiting += _named(requirement)
    return {name for name, _ in found}


def _named(requirement: Requirement) -> Iterator[tuple[str, str]]:
    """With each of its extras, and with none."""
    name = canonicalize_name(requirement.name)
    yield name, ""
    yield from ((name, extra) for extra in requirement.extras)


def _link(distribution: importlib.metadata.Distribution, packages: Path) -> None:
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        link = packages / top
        if not link.exists():  # some share a folder
            link.symlink_to(str(distribution.locate_file(top)))
