"""Reads our processes' logs as a collector would."""

import itertools
import json
from pathlib import Path

from tests.support.injections import FORGED

OURS = {"time", "level", "logger", "event", "process"}
LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


def forged_lines(log: Path, process: str) -> list[str]:
    """Lines that are not one JSON object of ours each, but for what libraries say while they are imported."""
    lines = log.read_bytes().decode().split("\n")
    assert lines.pop() == "", "the last line has no end"
    ours = list(itertools.dropwhile(lambda line: not line.startswith("{"), lines))
    assert ours, "there is no line of ours"
    return [line for line in ours if not _is_ours(line, process)]


def _is_ours(line: str, process: str) -> bool:
    try:
        said = json.loads(line)
    except ValueError:
        return False
    is_told = isinstance(said, dict) and said.keys() >= OURS and said["level"] in LEVELS
    return is_told and said["process"] == process and FORGED not in str(said["event"]) and line.isprintable()
