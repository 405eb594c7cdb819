"""What one lone job costs on the engine, beside the stock pipeline's call."""

from functools import partial

from tests.bench.contest import Contest
from tests.bench.report import middle_half, print_table, spread, taking_turns
from tests.bench.work import plain_job

SMALL_SIDE = 64
"""Pixels; the smaller the picture, the more overhead shows."""
SCHEDULER = "EulerDiscreteScheduler"


def overhead(both: Contest) -> None:
    rows = []
    for side in dict.fromkeys((both.subject.side, SMALL_SIDE)):
        jobs = [plain_job(side, SCHEDULER, both.size.lone_steps)]
        stock, engine = partial(both.run_one_by_one, jobs), partial(both.run_engine, jobs)
        taking_turns(1, stock, engine)  # the first forwards of a new size
        times = taking_turns(both.size.repeats, stock, engine)
        ratio = f"{times.engine / times.stock:.3f}"
        expected = "<= 1.05" if side == both.subject.side else ""
        rows.append((f"stock pipeline, {side} px", f"{1000 * times.stock:.1f}", "1.000", "", ""))
        middle = spread(middle_half(times.ratios))
        rows.append((f"engine, {side} px", f"{1000 * times.engine:.1f}", ratio, middle, expected))
    print_table(
        f"overhead: a lone job, {both.size.lone_steps} steps of {SCHEDULER}; median of {both.size.repeats}",
        ("ms", "ratio", "middle half", "expected"),
        rows,
    )
