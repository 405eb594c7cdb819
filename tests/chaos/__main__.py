"""`make chaos`: every scenario at length, and one table. The exit status is 0 if nothing was lost or doubled.

Arguments are names of scenarios; without any, all run.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.reckoning import Report
from tests.chaos.scenarios.burst import burst
from tests.chaos.scenarios.clocks import worker_with_a_wrong_clock
from tests.chaos.scenarios.devices import device_fails, poison_job
from tests.chaos.scenarios.kills import gateways_killed, workers_killed
from tests.chaos.scenarios.receivers import moody_receivers
from tests.chaos.scenarios.redis_away import redis_full, redis_killed, redis_paused, worker_cut_off
from tests.chaos.scenarios.restarts import rolling_restart, workers_drained
from tests.chaos.scenarios.storage import disk_full, s3_away

Scenario = Callable[[Path], Report]

SCENARIOS: Mapping[str, Scenario] = {
    "workers": partial(workers_killed, jobs=3000, kills=40, every_s=4.0),
    "gateways": partial(gateways_killed, jobs=1000, kills=20, every_s=2.0),
    "redis-killed": partial(redis_killed, jobs=500, kills=6, every_s=5.0, lease_s=10.0),
    "redis-paused": partial(redis_paused, jobs=200, pause_s=30.0),
    "cut-off": partial(worker_cut_off, jobs=200, cut_s=30.0),
    "redis-full": partial(redis_full, jobs=1000),
    "device": partial(device_fails, jobs=300),
    "poison": partial(poison_job, jobs=300),
    "drain": partial(workers_drained, jobs=200, drain_s=0.5),
    "rolling": partial(rolling_restart, jobs=500),
    "receivers": partial(moody_receivers, jobs=400),
    "burst": partial(burst, requests=10_000, clients=200, max_wait_s=20.0),
    "s3": partial(s3_away, jobs=300, away_s=30.0),
    "disk": partial(disk_full, jobs=100, full_s=15.0),
    "clock": partial(worker_with_a_wrong_clock, jobs=200),
}
POISONED = {"poison job": 1}
"""Jobs that are meant to fail."""


def main(names: Sequence[str]) -> int:
    console = Console(highlight=False)
    if unknown := set(names) - SCENARIOS.keys():
        console.print(f"No such scenario: {', '.join(unknown)}. There are {', '.join(SCENARIOS)}.")
        return 2
    reports = list(_reports(names or list(SCENARIOS), console))
    console.print(_table(reports))
    for report in reports:
        for flaw in report.flaws:
            console.print(f"{report.scenario}: {flaw}", markup=False)
    return int(any(not _is_clean(report) for report in reports))


def _reports(names: Sequence[str], console: Console) -> Iterator[Report]:
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                report = SCENARIOS[name](Path(folder))
            except (AssertionError, TimeoutError) as exc:  # the others are of use all the same
                report = Report(scenario=name, jobs=0, flaws=[f"broken off: {exc!r}"])
        console.print(f"{report.scenario}: {report.jobs} jobs in {time.monotonic() - began:.0f} s")
        yield report


def _is_clean(report: Report) -> bool:
    wanted = POISONED.get(report.scenario, 0)
    return not (report.lost or report.doubled or report.flaws) and report.failed == wanted


def _table(reports: Sequence[Report]) -> Table:
    columns = ("scenario", "jobs", "kills", "jobs hit", "failed", "lost", "doubled", "slowest recovery")
    table = Table(*columns, title="What became of the jobs")
    for each in reports:
        counts = (each.jobs, each.kills, each.hits, each.failed, each.lost, each.doubled)
        recovery = f"{each.slowest_recovery_s:.1f} s" if each.hits and each.slowest_recovery_s else "-"
        table.add_row(each.scenario, *map(str, counts), recovery)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
