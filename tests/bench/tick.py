"""What the engine does between forwards, as a share of its time from the first forward to the last.

A GPU works beside the engine's thread: what counts there is how much longer than the device's own work a tick
is. So ticks and forwards are timed in two passes, and only the second waits for the device.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch

from tests.bench.contest import Contest, finished
from tests.bench.report import print_table, spread
from tests.bench.work import plain_job
from worker.gpu.engine.pace import AHEAD
from worker.gpu.painting import Kit

WIDTHS = (1, 4, 8)
SCHEDULERS = ("EulerDiscreteScheduler", "UniPCMultistepScheduler")


class TimedUnet:
    """A UNet, and when its forwards began and ended."""

    def __init__(self, unet: Any, wait: Callable[[], object]) -> None:
        self._unet, self._wait = unet, wait
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.rows: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unet, name)

    def __call__(self, latents: torch.Tensor, *args: Any, **options: Any) -> Any:
        self.rows.append(len(latents))
        self._wait()
        self.begun.append(perf_counter())
        result = self._unet(latents, *args, **options)
        self._wait()
        self.ended.append(perf_counter())
        return result

    @property
    def tick_s(self) -> float:
        """From the beginning of a forward to that of the next, on average."""
        begun = self.begun[AHEAD + 1 :]  # the first ones do not wait for the device yet
        return (begun[-1] - begun[0]) / (len(begun) - 1)

    @property
    def forward_s(self) -> float:
        """A forward, on average over the same ticks."""
        times = [end - begin for begin, end in zip(self.begun, self.ended, strict=True)]
        return statistics.mean(times[AHEAD + 1 : -1])


@dataclass(frozen=True)
class Cost:
    """Of one tick, in seconds."""

    whole_s: float
    forward_s: float
    pictures: float

    @property
    def outside_s(self) -> float:
        return self.whole_s - self.forward_s

    @property
    def share(self) -> float:
        return self.outside_s / self.whole_s


def tick(both: Contest) -> None:
    rows = []
    for scheduler in SCHEDULERS:
        for width in WIDTHS:
            costs = sorted((_cost(both, scheduler, width) for _ in range(both.size.rounds)), key=_share)
            usual = costs[len(costs) // 2]
            rows.append(
                (
                    f"{scheduler}, width {width}",
                    *(f"{1000 * usual.whole_s:.2f}", f"{1000 * usual.outside_s:.2f}", f"{usual.share:.3f}"),
                    spread([cost.share for cost in costs]),
                    f"{usual.pictures:.1f}",
                    "<= 0.10" if width == max(WIDTHS) else "",
                )
            )
    print_table(
        f"tick: {both.subject.side} px, {both.size.lone_steps} steps; median of {both.size.rounds}",
        ("ms", "outside the UNet", "ratio", "rounds", "pictures", "expected"),
        rows,
    )


def _share(cost: Cost) -> float:
    return cost.share


def _cost(both: Contest, scheduler: str, width: int) -> Cost:
    device = both.subject.model.device
    free = _timed(both, scheduler, width, wait=lambda: None)
    waited = free
    if device.type == "cuda":
        waited = _timed(both, scheduler, width, wait=lambda: torch.cuda.synchronize(device))
    return Cost(free.tick_s, waited.forward_s, statistics.mean(free.rows) / 2)


def _timed(both: Contest, scheduler: str, width: int, wait: Callable[[], object]) -> TimedUnet:
    """One rendering of `width` pictures, so that they begin and end together."""
    model = both.subject.model
    unet = TimedUnet(model.unet, wait)
    jobs = [plain_job(both.subject.side, scheduler, both.size.lone_steps, seed) for seed in range(width)]
    finished([both.start_together(jobs, Kit.plain(replace(model, unet=unet)))])
    return unet
