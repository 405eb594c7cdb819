"""Pictures per second of many different jobs: the engine, and the stock pipeline called one by one."""

from collections.abc import Sequence

import numpy as np

from tests.bench.contest import Contest
from tests.bench.report import print_table, spread, taking_turns
from tests.bench.work import KINDS, jobs_of_all_kinds, mixed_jobs
from worker.gpu.engine import Pixels
from worker.gpu.painting import PictureRequest


def mixed(both: Contest) -> None:
    jobs = mixed_jobs(both.size.jobs, both.subject.side, both.size.steps)
    compare(both, jobs, "mixed", "which differ in steps, guidance and scheduler")


def kinds(both: Contest) -> None:
    jobs = jobs_of_all_kinds(both.size.jobs, both.subject.side, both.size.steps)
    compare(both, jobs, "kinds", f"of {', '.join(KINDS)} in turn, which differ as in `mixed`")


def compare(both: Contest, jobs: Sequence[PictureRequest], name: str, what: str) -> None:
    """All at once in the engine, and one by one with the stock pipelines."""
    pictures: dict[str, list[Pixels]] = {}

    def run_stock() -> None:
        pictures["stock"] = both.run_one_by_one(jobs)

    def run_engine() -> None:
        pictures["engine"] = both.run_engine(jobs)

    times = taking_turns(both.size.rounds, run_stock, run_engine)
    gain = times.stock / times.engine
    print_table(
        f"{name}: {len(jobs)} jobs of {both.subject.side} px, {what}; median of {both.size.rounds}",
        ("pictures/s", "ratio", "rounds", "expected"),
        [
            ("stock pipeline, one by one", f"{len(jobs) / times.stock:.2f}", "1.00", "", ""),
            (
                "engine, all submitted at once",
                *(f"{len(jobs) / times.engine:.2f}", f"{gain:.2f}", spread([1 / r for r in times.ratios])),
                ">= 1.5",
            ),
        ],
        [f"A job's two pictures differ by {_most(pictures['stock'], pictures['engine'])} of 255 at most."],
    )


def _most(some: Sequence[Pixels], others: Sequence[Pixels]) -> int:
    return max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(some, others, strict=True))
