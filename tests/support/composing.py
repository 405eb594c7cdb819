"""What Docker Compose itself makes of our files. It needs no Docker for that."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.images import PROJECT

DEPLOY = PROJECT / "deploy"
EXAMPLE = DEPLOY / "compose.env.example"
TOOL = Path(sys.executable).with_name("docker-compose")


def required() -> list[str]:
    """Those variables that the example leaves to be filled in."""
    return re.findall(r"^([A-Z0-9_]+)=$", EXAMPLE.read_text(), re.MULTILINE)


def offered() -> list[str]:
    """All others that it knows."""
    return re.findall(r"^# ([A-Z0-9_]+)=", EXAMPLE.read_text(), re.MULTILINE)


def filled_in(**variables: str) -> dict[str, str]:
    secrets = {name: f"0a1b{number}" for number, name in enumerate(required())}
    known = {"FLOWER_BASIC_AUTH": "admin:0a1b", "WEBHOOK_SECRET": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}
    return secrets | known | variables


def compose(
    folder: Path, variables: Mapping[str, str], files: tuple[str, ...] = ("compose.yaml",), *words: str
) -> subprocess.CompletedProcess[str]:
    """`docker compose config` with these variables as the file .env, which lies in `folder`."""
    file = folder / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    chosen = [word for name in files for word in ("--file", str(DEPLOY / name))]
    command = [str(TOOL), "--env-file", str(file), *chosen, "--profile", "*", "config", *words]
    environment = {
        name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ
    }  # others would count
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def services(folder: Path, *files: str, **variables: str) -> dict[str, dict[str, Any]]:
    """By their names, with all that is filled in."""
    ran = compose(folder, filled_in(**variables), files or ("compose.yaml",), "--format", "json")
    assert ran.returncode == 0, ran.stderr
    found: dict[str, dict[str, Any]] = json.loads(ran.stdout)["services"]
    return found


def told_commands() -> list[list[str]]:
    """The words after `docker compose` wherever we tell somebody to say them."""
    manual = (PROJECT / "docs" / "OPERATIONS.md").read_text()
    section = manual.partition("\n## With Docker Compose\n")[2].partition("\n## ")[0]
    texts = (section, EXAMPLE.read_text(), (DEPLOY / "compose.yaml").read_text())
    return [said.split() for text in texts for said in re.findall(r"docker compose ([^`\n#:]+)", text)]


def understood(command: str) -> set[str]:
    """The long options of one of its commands, and its own."""
    said = [
        subprocess.run([TOOL, *words, "--help"], capture_output=True, text=True, check=True).stdout
        for words in ([], [command])
    ]
    return set(re.findall(r"--[a-z][a-z-]*", " ".join(said)))


def seconds(said: str) -> float:
    """Of a duration like 1m5s."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms])", said))
