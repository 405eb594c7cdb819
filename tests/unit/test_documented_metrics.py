"""The table of metrics in docs/OPERATIONS.md, beside what the processes tell.

That they tell just this is held by tests/integration/test_metrics.py.
"""

import re
from pathlib import Path

import pytest

from tests.support.known_metrics import LEDGER
from tests.support.metrics import DISPATCHER, GATEWAYS_OWN, GPU_WORKER, OF_ALL

PAGE = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"
ROW = re.compile(
    r"^\| `(printworks_\w+)` \|\s*(.*?)\s*\| (all|gateway|cluster|GPU worker|dispatcher) \| (.+) \|$", re.M
)


def documented(process: str) -> dict[str, set[str]]:
    """The metrics of a process by their names, and their labels."""
    rows = ROW.findall(PAGE.read_text())
    return {
        name: set(re.findall(r"`(\w+)`", labels)) for name, labels, of, _ in rows if of in (process, "all")
    }


@pytest.mark.parametrize(
    ("process", "told"),
    [
        ("gateway", GATEWAYS_OWN),
        ("cluster", {**OF_ALL, **LEDGER}),
        ("GPU worker", GPU_WORKER),
        ("dispatcher", DISPATCHER),
    ],
    ids=["gateway", "cluster", "GPU worker", "dispatcher"],
)
def test_every_metric_of_a_process_is_documented_with_its_labels(
    process: str, told: dict[str, set[str]]
) -> None:
    assert documented(process) == told


def test_every_line_of_the_table_is_read() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `printworks_")]

    assert len(lines) == len(set(ROW.findall(PAGE.read_text())))
    assert documented("all") == OF_ALL
