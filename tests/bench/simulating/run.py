"""One run: a world, a policy, and what came of it."""

from collections.abc import Generator
from dataclasses import dataclass, field
from random import Random
from statistics import fmean

import simpy

from tests.bench.report import quantile
from tests.bench.simulating.policies import POLICIES, Asked
from tests.bench.simulating.server import Server
from tests.bench.simulating.world import Job, World


@dataclass(frozen=True)
class Result:
    """Of the jobs that count, and of all GPUs while these came."""

    waits_s: list[float]
    """From accept until the client's server knows that the job is done."""
    slowdowns: list[float]
    """The same by what a reference GPU takes that has loaded the model."""
    busy: float
    """Share of the GPUs' time, loads of models included."""
    loading: float

    @property
    def mean_s(self) -> float:
        return fmean(self.waits_s)

    def quantile_s(self, share: float) -> float:
        return quantile(self.waits_s, share)

    @property
    def mean_slowdown(self) -> float:
        return fmean(self.slowdowns)

    def slowdown_quantile(self, share: float) -> float:
        return quantile(self.slowdowns, share)


@dataclass
class _Tally:
    """Ends the run when all jobs are done."""

    env: simpy.Environment
    world: World
    open_jobs: int
    all_done: simpy.Event
    waits_s: list[float] = field(default_factory=list)
    slowdowns: list[float] = field(default_factory=list)

    def done(self, job: Job, server: Server) -> None:
        first_s = self.world.warm_up_s
        if first_s <= job.accepted_s < first_s + self.world.measured_s:
            way_s = 0.0 if server.index == job.home else self.world.one_way_s
            self.waits_s.append(self.env.now + way_s - job.accepted_s)
            self.slowdowns.append(self.waits_s[-1] / job.reference_s)
        self.open_jobs -= 1
        if self.open_jobs == 0:
            self.all_done.succeed()


def simulate(world: World, policy: str) -> Result:
    """The same world and policy: the same result, to the last bit."""
    env = simpy.Environment()
    jobs = list(world.jobs())
    tally = _Tally(env, world, len(jobs), env.event())
    dice = Random(f"{world.seed} servers")
    servers = [
        Server(f"server-{index}", index, env, world, speed, dice, tally.done)
        for index, speed in enumerate(world.speeds())
    ]
    accepts = [POLICIES[policy](Asked(env, world, server, servers)) for server in servers[: world.asked]]

    def clients() -> Generator[simpy.Event]:
        for job in jobs:
            yield env.timeout(job.accepted_s - env.now)
            accepts[job.home](job)

    env.process(clients())
    env.run(until=tally.all_done)
    gpus = [gpu for server in servers for gpu in server.gpus]
    gpu_s = len(gpus) * world.measured_s
    return Result(
        tally.waits_s,
        tally.slowdowns,
        busy=sum(gpu.busy_s for gpu in gpus) / gpu_s,
        loading=sum(gpu.loading_s for gpu in gpus) / gpu_s,
    )
