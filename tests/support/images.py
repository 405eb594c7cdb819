"""Reads Dockerfiles, and lays out what reaches their builders."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILES = {name: PROJECT / "deploy" / f"Dockerfile.{name}" for name in ("gateway", "worker")}


@dataclass(frozen=True)
class Instruction:
    word: str
    """In capitals."""
    said: str


@dataclass(frozen=True)
class Stage:
    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def all(self, word: str) -> list[str]:
        return [each.said for each in self.instructions if each.word == word]

    def one(self, word: str) -> str:
        (said,) = self.all(word)
        return said

    def environment(self) -> dict[str, str]:
        pairs = (pair.partition("=") for said in self.all("ENV") for pair in said.split())
        return {name: value.strip('"') for name, _, value in pairs}

    def labels(self) -> dict[str, str]:
        return dict(re.findall(r'(\S+?)="([^"]*)"', " ".join(self.all("LABEL"))))

    def copied_from_the_project(self) -> list[str]:
        return [source for said in self.all("COPY") if "--from" not in said for source in said.split()[:-1]]


class Dockerfile:
    """The stages of one, and the default of each build argument."""

    def __init__(self, path: Path) -> None:
        self.path = path
        said = list(_instructions(path.read_text()))
        starts = [number for number, each in enumerate(said) if each.word == "FROM"]
        given = [each.said.partition("=") for each in said if each.word == "ARG"]
        self.arguments = {name: value.strip('"') for name, _, value in given}
        self.stages = [
            self._stage(said[start:end]) for start, end in zip(starts, [*starts[1:], None], strict=True)
        ]

    def __getitem__(self, name: str) -> Stage:
        (stage,) = (stage for stage in self.stages if stage.name == name)
        return stage

    @property
    def image(self) -> Stage:
        """What is left in the end."""
        return self.stages[-1]

    def extras(self) -> set[str]:
        """Those of our optional dependencies that are always installed."""
        (found,) = re.findall(r"\.\[([\w,]+)", self["dependencies"].one("RUN"))
        return set(found.split(","))

    def _stage(self, said: list[Instruction]) -> Stage:
        base, _, name = said[0].said.partition(" AS ")
        for argument, value in self.arguments.items():
            base = base.replace(f"${{{argument}}}", value)
        return Stage(base, name, tuple(said[1:]))


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, said = line.partition(" ")
            yield Instruction(word.upper(), said.strip())


def is_ignored(path: str) -> bool:
    """Whether a file of the project is kept from the builder: the last line that fits it, or a folder that it
    is in, decides."""
    folders = path.split("/")
    above = ["/".join(folders[: count + 1]) for count in range(len(folders))]
    ignored = False
    for line in (PROJECT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").strip("/")
        if pattern and not line.startswith("#") and any(_fits(each, pattern) for each in above):
            ignored = not line.startswith("!")
    return ignored


def _fits(path: str, pattern: str) -> bool:
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return bool(re.fullmatch("".join(words.get(part) or re.escape(part) for part in parts), path))


def files_for_the_builder() -> list[str]:
    """All of the project's folder that are not ignored."""
    hidden = {".git", ".venv"}
    found = (path for top in PROJECT.iterdir() if top.name not in hidden for path in (top, *top.rglob("*")))
    names = (path.relative_to(PROJECT).as_posix() for path in found if path.is_file())
    return sorted(name for name in names if not is_ignored(name))


def lay_out(stages: list[Stage], folder: Path) -> None:
    """What these stages copy from the project, as it would lie in the builder."""
    wanted = [source for stage in stages for source in stage.copied_from_the_project()]
    for name in files_for_the_builder():
        if any(name == source or name.startswith(f"{source}/") for source in wanted):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)


def project_table() -> dict[str, Any]:
    """What pyproject.toml says of the project."""
    table: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return table
