"""A simulated server: a queue and GPUs, which make one job at a time each and keep the models they used last.

As in the ledger, a job of a loaded model may overtake a bounded amount of work, and the pace of all is what
the last jobs took, loads of models included. The pace of one job is told without them.
"""

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from random import Random

import simpy

from api.balancing.choice import Load
from tests.bench.simulating.world import REFERENCE_PACE_MS, Job, World

OVERTAKEN = 1_600_000
"""Work units that a job of a loaded model may overtake: the default of `affinity_slack`."""
SMOOTHING = 0.1


@dataclass(eq=False)
class Gpu:
    loaded: list[str]
    """The one that was used last is the last."""
    job: Job | None = None
    making_since_s: float | None = None
    """None while a model is loaded."""
    busy_s: float = 0.0
    loading_s: float = 0.0


@dataclass(eq=False)
class Server:
    name: str
    index: int
    env: simpy.Environment
    world: World
    speed: float
    dice: Random
    on_done: Callable[[Job, "Server"], None]
    gpus: list[Gpu] = field(default_factory=list)
    queue: list[Job] = field(default_factory=list)
    pace_ms: float | None = None
    job_pace_ms: float | None = None
    load_s: float | None = None

    def __post_init__(self) -> None:
        for _ in range(self.world.gpus):
            models = dict.fromkeys(self.world.popular(self.dice, k=self.world.models_per_gpu))
            self.gpus.append(Gpu(list(models)))

    def queue_up(self, job: Job) -> None:
        """Any GPU that is idle takes it: who hears of it first is chance."""
        self.queue.append(job)
        if idle := [gpu for gpu in self.gpus if gpu.job is None]:
            gpu = self.dice.choice(idle)
            gpu.job = self._take(gpu)
            self.env.process(self._work(gpu))

    def tell(self) -> Load:
        models = [model for gpu in self.gpus for model in gpu.loaded]
        running = [gpu for gpu in self.gpus if gpu.job]
        return Load.model_construct(
            work_left=sum(job.cost for job in self.queue) + sum(self._left(gpu) for gpu in running),
            pace_ms=self.pace_ms,
            job_pace_ms=self.job_pace_ms,
            slots=len(self.gpus),
            open_jobs=len(self.queue) + len(running),
            workers=len(self.gpus),
            warmth={model: times / len(self.gpus) for model, times in Counter(models).items()},
            load_s=self.load_s,
        )

    def _left(self, gpu: Gpu) -> float:
        assert gpu.job
        if gpu.making_since_s is None:
            return gpu.job.cost
        return max(0.0, gpu.job.cost - (self.env.now - gpu.making_since_s) / self._per_unit_s)

    @property
    def _per_unit_s(self) -> float:
        return REFERENCE_PACE_MS / 1000 / self.speed

    def _take(self, gpu: Gpu) -> Job:
        overtaken, chosen = 0, 0
        for index, job in enumerate(self.queue):
            if job.model_id in gpu.loaded:
                chosen = index
                break
            overtaken += job.cost
            if overtaken > OVERTAKEN:
                break
        return self.queue.pop(chosen)

    def _work(self, gpu: Gpu) -> Generator[simpy.Event]:
        while gpu.job:
            begun_s = self.env.now
            yield from self._load(gpu, gpu.job.model_id)
            gpu.making_since_s = self.env.now
            yield self.env.timeout(gpu.job.cost * self._per_unit_s)
            self._measure(gpu.job, begun_s, gpu.making_since_s)
            gpu.busy_s += self._within(begun_s)
            self.on_done(gpu.job, self)
            gpu.making_since_s = None
            gpu.job = self._take(gpu) if self.queue else None

    def _load(self, gpu: Gpu, model_id: str) -> Generator[simpy.Event]:
        if model_id in gpu.loaded:
            gpu.loaded.remove(model_id)
        else:
            if len(gpu.loaded) == self.world.models_per_gpu:
                gpu.loaded.pop(0)
            begun_s = self.env.now
            seconds = self.dice.uniform(*self.world.load_model_s)
            yield self.env.timeout(seconds)
            self.load_s = _smoothed(self.load_s, seconds)
            gpu.loading_s += self._within(begun_s)
        gpu.loaded.append(model_id)

    def _measure(self, job: Job, begun_s: float, making_since_s: float) -> None:
        running = sum(1 for gpu in self.gpus if gpu.job)
        self.pace_ms = _smoothed(self.pace_ms, (self.env.now - begun_s) * 1000 / job.cost / running)
        self.job_pace_ms = _smoothed(self.job_pace_ms, (self.env.now - making_since_s) * 1000 / job.cost)

    def _within(self, begun_s: float) -> float:
        """Seconds since then that are measured."""
        first = self.world.warm_up_s
        return max(0.0, min(self.env.now, first + self.world.measured_s) - max(begun_s, first))


def _smoothed(so_far: float | None, sample: float) -> float:
    return sample if so_far is None else so_far + SMOOTHING * (sample - so_far)
