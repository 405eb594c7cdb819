"""How 100 servers share jobs: our choice code beside three simple policies, in simulated time.

`python -m tests.bench.simulate` prints one Markdown table, always the same. docs/PERFORMANCE.md explains it.
"""

from collections.abc import Iterator

from tests.bench.simulating.policies import POLICIES
from tests.bench.simulating.run import Result, simulate
from tests.bench.simulating.world import World

LOADS = (0.7, 0.85, 0.95)
COLUMNS = (
    "load",
    "policy",
    "mean s",
    "p50 s",
    "p95 s",
    "p99 s",
    "slowdown",
    "slowdown p95",
    "loading",
    "busy",
)


def rows() -> Iterator[tuple[str, ...]]:
    for load in LOADS:
        for policy in POLICIES:
            yield f"{load:.0%}", policy, *_cells(simulate(World(load=load), policy))


def _cells(result: Result) -> list[str]:
    seconds = [result.mean_s, *(result.quantile_s(share) for share in (0.5, 0.95, 0.99))]
    slowdowns = [result.mean_slowdown, result.slowdown_quantile(0.95)]
    cells = [f"{value:.1f}" for value in (*seconds, *slowdowns)]
    return [*cells, f"{result.loading:.1%}", f"{result.busy:.1%}"]


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\nHow 100 servers share jobs, simulated (docs/PERFORMANCE.md)\n")
    print(_line(COLUMNS))
    print("|---|---|" + "--:|" * (len(COLUMNS) - 2))
    for row in rows():
        print(_line(row), flush=True)
