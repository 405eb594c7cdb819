"""The step-batching engine beside stock diffusers: same model, same jobs, same threads, in one run.

    python -m tests.bench.engine [mixed arrivals overhead tick] [--model demo|sd15|sdxl] [--device cpu|cuda]

Prints ratios. On a GPU the models have random weights of the real sizes, in fp16.
"""

import argparse
import dataclasses
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

import diffusers
import torch

from shared.settings import Settings
from tests.bench.models import Subject, subject
from tests.bench.work import RequestBatcher, mixed_jobs, run_stock
from worker.gpu.engine import Engine, Rendering
from worker.gpu.models.loaded import LoadedModel, from_pipeline
from worker.gpu.painting import Kit, PictureRequest, paint
from worker.gpu.schedulers import Sampling

LOAD = 0.8


@dataclasses.dataclass(frozen=True)
class Bench:
    subject: Subject
    jobs: int
    repeats: int

    def mixed(self) -> None:
        """All jobs at once: pictures per second."""
        jobs = mixed_jobs(self.jobs, self.subject.side)
        with self._engine() as (engine, kit):
            self._warm(engine, kit, jobs[0])
            stock_s = sum(timed(partial(run_stock, self.subject, [job])) for job in jobs)
            engine_s = timed(lambda: finish([submit(engine, kit, job) for job in jobs]))
        heading(f"mixed: {len(jobs)} jobs of {self.subject.side} px, 21 to 41 steps, six schedulers")
        row("stock, one by one", len(jobs) / stock_s, "pictures/s", 1.0)
        row("engine", len(jobs) / engine_s, "pictures/s", stock_s / engine_s)

    def arrivals(self) -> None:
        """Jobs that arrive at random: how long each takes, beside a request-level batcher at 80 % load."""
        jobs = mixed_jobs(self.jobs, self.subject.side)
        capacity = len(jobs) / timed(lambda: self._through_batcher(jobs, [0.0] * len(jobs)))
        random, at, arrivals = Random(11), 0.0, []
        for _ in jobs:
            at += random.expovariate(LOAD * capacity)
            arrivals.append(at)
        batcher = self._through_batcher(jobs, arrivals)
        with self._engine() as (engine, kit):
            self._warm(engine, kit, jobs[0])
            ours = replay(jobs, arrivals, partial(submit_told, engine, kit))
        heading(f"arrivals: {len(jobs)} jobs at 80 % of the batcher's {capacity:.2f} jobs/s")
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            theirs_s, ours_s = quantile(batcher, share), quantile(ours, share)
            row(f"batcher {name}", theirs_s, "s", 1.0)
            row(f"engine {name}", ours_s, "s", ours_s / theirs_s)

    def overhead(self) -> None:
        """One lone job, taking turns with the stock pipeline's call."""
        for side in (self.subject.side, self.subject.side // 2):
            wanted = dataclasses.replace(lone_job(side), sampling=Sampling("EulerDiscreteScheduler", 20))
            stock_s, engine_s = [], []
            with self._engine() as (engine, kit):
                self._warm(engine, kit, wanted)
                for _ in range(self.repeats):
                    stock_s.append(timed(partial(run_stock, self.subject, [wanted])))
                    engine_s.append(timed(partial(run_alone, engine, kit, wanted)))
            stock, ours = statistics.median(stock_s), statistics.median(engine_s)
            heading(f"overhead: a lone job of {side} px, 20 steps, median of {self.repeats}")
            row("stock call", stock, "s", 1.0)
            row("engine", ours, "s", ours / stock)

    def tick(self) -> None:
        """What is done between forwards, as a share of the engine's time."""
        heading("tick: share of the time outside the UNet")
        for scheduler in ("UniPCMultistepScheduler", "EulerDiscreteScheduler"):
            for width in (1, 4, 8):
                wanted = dataclasses.replace(lone_job(self.subject.side), sampling=Sampling(scheduler, 20))
                with self._engine() as (engine, kit):
                    self._warm(engine, kit, wanted)
                    unet = Timed(kit.model)
                    watched = dataclasses.replace(kit, model=dataclasses.replace(kit.model, unet=unet))
                    crowd = [dataclasses.replace(wanted, seed=seed) for seed in range(width)]
                    finish([engine.submit([partial(paint, watched, job) for job in crowd])])
                row(f"{scheduler}, width {width}", unet.outside_ms, "ms/tick", unet.share_outside)

    def _through_batcher(self, jobs: Sequence[PictureRequest], arrivals: Sequence[float]) -> list[float]:
        batcher = RequestBatcher(self.subject)
        latencies = replay(jobs, arrivals, batcher.submit)
        batcher.close()
        return latencies

    @contextmanager
    def _engine(self) -> Iterator[tuple[Engine, Kit]]:
        device = self.subject.pipeline.unet.device
        model = from_pipeline(self.subject.name, self.subject.pipeline)
        engine = Engine(lane_width=Settings().lane_width, device=device, on_fatal=print)
        engine.start()
        yield engine, Kit.plain(model)
        engine.close()

    def _warm(self, engine: Engine, kit: Kit, job: PictureRequest) -> None:
        """Both sides, once at every width that will be used."""
        brief = dataclasses.replace(job, sampling=Sampling("EulerDiscreteScheduler", 4))
        run_stock(self.subject, [brief])
        for _ in range(2):
            finish([submit(engine, kit, brief) for _ in range(Settings().lane_width)])


class Timed:
    """A UNet that knows how long its forwards took, and how long it was between them."""

    def __init__(self, model: LoadedModel) -> None:
        self._unet, self._device = model.unet, model.device
        self.config = model.unet.config
        self._inside_s: list[float] = []
        self._between_s: list[float] = []
        self._last: float | None = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        begun = self._now()
        if self._last is not None:
            self._between_s.append(begun - self._last)
        result = self._unet(*args, **options)
        self._last = self._now()
        self._inside_s.append(self._last - begun)
        return result

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @property
    def outside_ms(self) -> float:
        return 1000 * statistics.median(self._between_s)

    @property
    def share_outside(self) -> float:
        between, inside = statistics.median(self._between_s), statistics.median(self._inside_s)
        return between / (between + inside)


def lone_job(side: int) -> PictureRequest:
    return mixed_jobs(1, side)[0]


def submit(engine: Engine, kit: Kit, job: PictureRequest) -> Rendering:
    return engine.submit([partial(paint, kit, job)])


def run_alone(engine: Engine, kit: Kit, job: PictureRequest) -> None:
    finish([submit(engine, kit, job)])


def submit_told(engine: Engine, kit: Kit, job: PictureRequest, on_done: Callable[[], None]) -> None:
    """As a slot does it: a thread waits for the picture."""
    rendering = submit(engine, kit, job)

    def wait() -> None:
        finish([rendering])
        on_done()

    threading.Thread(target=wait, daemon=True).start()


def finish(renderings: Sequence[Rendering]) -> None:
    for rendering in renderings:
        for picture in rendering.result():
            picture.develop()


def replay(
    jobs: Sequence[PictureRequest],
    arrivals: Sequence[float],
    submit_job: Callable[[PictureRequest, Callable[[], None]], None],
) -> list[float]:
    """Send each job at its time; seconds from then to its end."""
    ends: dict[int, float] = {}
    over = threading.Semaphore(0)
    begun = time.perf_counter()

    def end(index: int) -> None:
        ends[index] = time.perf_counter() - begun
        over.release()

    for index, (job, at) in enumerate(zip(jobs, arrivals, strict=True)):
        time.sleep(max(0.0, begun + at - time.perf_counter()))
        submit_job(job, partial(end, index))
    for _ in jobs:
        over.acquire()
    return [ends[index] - at for index, at in enumerate(arrivals)]


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def heading(text: str) -> None:
    print(f"\n{text}", flush=True)


def row(name: str, value: float, unit: str, ratio: float) -> None:
    print(f"  {name:44}{value:10.3f} {unit:11} ratio {ratio:6.3f}", flush=True)


def main() -> None:
    names = ("mixed", "arrivals", "overhead", "tick")
    parser = argparse.ArgumentParser(description="Measure the engine beside stock diffusers.")
    parser.add_argument("benches", nargs="*", metavar="bench", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--model", choices=("demo", "sd15", "sdxl"), default="demo")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--side", type=int, help="pixels; by default the model's own")
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=11)
    arguments = parser.parse_args()
    unknown = set(arguments.benches) - set(names)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    torch.set_num_threads(Settings().cpu_threads)
    chosen = subject(arguments.model, arguments.device, arguments.side)
    device = chosen.pipeline.unet.device
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    )
    print(f"{chosen.name} on {device} ({name}), torch {torch.__version__}, diffusers {diffusers.__version__}")
    bench = Bench(chosen, arguments.jobs, arguments.repeats)
    for each in arguments.benches or names:
        getattr(bench, each)()


if __name__ == "__main__":
    main()
