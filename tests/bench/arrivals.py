"""Latency of jobs that arrive at random: the engine, and a batcher of whole requests.

Every round first measures what both systems can do when all jobs are there at once, then sends the same
jobs at the same random times to either, at 80 % of the smaller capacity. Beyond its capacity a system's
latency says only for how long one has looked. Every round measures capacity anew, and prints how busy the
batcher was: on a machine that others use, capacity changes.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from random import Random
from time import perf_counter, sleep

from tests.bench.contest import Contest, finished
from tests.bench.report import print_table, quantile, spread
from tests.bench.work import RequestBatcher, mixed_jobs
from worker.gpu.painting import PictureRequest

LOAD = 0.8
PER_ROUND = 64
"""Shorter rounds end before queues have built up, which flatters whoever lets them build up."""

Submit = Callable[[PictureRequest, Callable[[], None]], None]
"""Starts a job; returns at once, and calls the callable when its picture is there."""


@dataclass(frozen=True)
class Round:
    batcher_s: list[float]
    """Latencies."""
    engine_s: list[float]
    notes: list[str]


def arrivals(both: Contest) -> None:
    count = max(1, both.size.jobs // PER_ROUND)
    rounds = [_round(both, index, both.size.jobs // count) for index in range(count)]
    batcher = [latency for each in rounds for latency in each.batcher_s]
    engine = [latency for each in rounds for latency in each.engine_s]
    rows = []
    for name, share, expected in (("p50", 0.5, ""), ("p95", 0.95, "<= 0.6")):
        theirs, ours = quantile(batcher, share), quantile(engine, share)
        by_round = [quantile(each.engine_s, share) / quantile(each.batcher_s, share) for each in rounds]
        rows.append((f"batcher, {name}", f"{theirs:.2f}", "1.00", "", ""))
        rows.append((f"engine, {name}", f"{ours:.2f}", f"{ours / theirs:.2f}", spread(by_round), expected))
    print_table(
        f"arrivals: {len(batcher)} jobs of {both.subject.side} px at {LOAD:.0%} of the slower one's capacity",
        ("latency in s", "ratio", "rounds", "expected"),
        rows,
        [note for each in rounds for note in each.notes],
    )


def _round(both: Contest, index: int, count: int) -> Round:
    jobs = mixed_jobs(count, both.subject.side, both.size.steps, seed=7 + index)
    at_once = [0.0] * count
    with _batcher(both) as batcher:
        batcher_rate = count / max(_replay(jobs, at_once, batcher.submit))
    engine_rate = count / max(_replay(jobs, at_once, partial(_submit, both)))
    at = _poisson(count, LOAD * min(batcher_rate, engine_rate), seed=11 + index)
    latencies: dict[str, list[float]] = {}
    with _batcher(both) as batcher:
        turns: list[tuple[str, Submit]] = [("batcher", batcher.submit), ("engine", partial(_submit, both))]
        for name, submit in turns if index % 2 == 0 else reversed(turns):
            latencies[name] = _replay(jobs, at, submit)
    end = max(start + latency for start, latency in zip(at, latencies["batcher"], strict=True))
    notes = [
        f"Round {index + 1}: the batcher can do {batcher_rate:.2f} jobs/s, the engine {engine_rate:.2f}; "
        f"{count / at[-1]:.2f} arrived.",
        f"The batcher was busy {batcher.busy_s / end:.0%} of it, {count / batcher.calls:.2f} jobs a call.",
    ]
    return Round(latencies["batcher"], latencies["engine"], notes)


def _poisson(count: int, rate: float, seed: int) -> list[float]:
    """When each job arrives, in seconds."""
    random = Random(seed)
    return list(accumulate(random.expovariate(rate) for _ in range(count)))


@contextmanager
def _batcher(both: Contest) -> Iterator[RequestBatcher]:
    batcher = RequestBatcher(both.subject)
    yield batcher
    batcher.close()


def _submit(both: Contest, job: PictureRequest, on_done: Callable[[], None]) -> None:
    """As a slot does it: a thread waits for the picture."""
    renderings = both.start([job])

    def wait() -> None:
        finished(renderings)
        on_done()

    threading.Thread(target=wait, daemon=True).start()


def _replay(jobs: Sequence[PictureRequest], arrive: Sequence[float], submit: Submit) -> list[float]:
    """Starts each job at its time; seconds from then to its end."""
    ends: dict[int, float] = {}
    over = threading.Semaphore(0)
    begun = perf_counter()

    def end(index: int) -> None:
        ends[index] = perf_counter() - begun
        over.release()

    for index, (job, at) in enumerate(zip(jobs, arrive, strict=True)):
        sleep(max(0.0, begun + at - perf_counter()))
        submit(job, partial(end, index))
    for _ in jobs:
        over.acquire()
    return [ends[index] - at for index, at in enumerate(arrive)]
