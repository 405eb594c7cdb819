"""What is assumed: how many servers, how fast they are, and which jobs come to which of them, and when."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

REFERENCE_PACE_MS = 0.02
"""Of a reference GPU, per work unit: 512 px, 20 steps take 1.6 s; four pictures of 1024 px, 50 steps 66 s."""
SIDES, SIDE_WEIGHTS = (512, 768, 1024), (5, 2, 3)
STEPS, STEP_WEIGHTS = (20, 30, 50), (3, 4, 3)
PICTURES, PICTURE_WEIGHTS = (1, 2, 4), (6, 2, 2)
LATENT_PIXELS = 64


@dataclass(frozen=True)
class World:
    """A cluster, and what it is asked for. Every random choice in it comes from its seed."""

    seed: int = 1
    servers: int = 100
    asked: int = 10
    """Servers that clients send to."""
    gpus: int = 8
    """Of each server. A GPU makes one job at a time."""
    models: int = 12
    """The n-th is asked for 1/n as often as the first."""
    models_per_gpu: int = 2
    slow_share: float = 1 / 3
    """Of the servers; their GPUs are half as fast."""
    load: float = 0.85
    """Mean work that comes, by the work that all GPUs can do if they never load a model."""
    load_model_s: tuple[float, float] = (6.0, 14.0)
    one_way_s: float = 0.05
    """Of the network."""
    warm_up_s: float = 100.0
    """Jobs that come before count for nothing; nor do those that come after `measured_s` more."""
    measured_s: float = 200.0
    after_s: float = 50.0

    @property
    def asked_until_s(self) -> float:
        return self.warm_up_s + self.measured_s + self.after_s

    def speeds(self) -> list[float]:
        """By server. Those that are asked are a mix as the others are."""
        slow = round(self.servers * self.slow_share)
        speeds = [0.5] * slow + [1.0] * (self.servers - slow)
        Random(self.seed).shuffle(speeds)
        return speeds

    def popular(self, dice: Random, k: int = 1) -> list[str]:
        """Models, drawn as often as they are asked for."""
        weights = [1 / rank for rank in range(1, self.models + 1)]
        return [f"model-{index}" for index in dice.choices(range(self.models), weights, k=k)]

    def jobs(self) -> Iterator["Job"]:
        """In the order in which they come; the same for every policy."""
        dice = Random(self.seed + 1)
        per_s = self.load * self.gpus * sum(self.speeds()) / (mean_cost() * REFERENCE_PACE_MS / 1000)
        now_s = 0.0
        for job_id in count(1):
            now_s += dice.expovariate(per_s)
            if now_s > self.asked_until_s:
                return
            yield Job(job_id, _cost(dice), self.popular(dice)[0], now_s, dice.randrange(self.asked))


@dataclass(frozen=True)
class Job:
    job_id: int
    cost: int
    model_id: str
    accepted_s: float
    home: int
    """The server that was asked."""

    @property
    def reference_s(self) -> float:
        """How long a reference GPU that has loaded the model takes."""
        return self.cost * REFERENCE_PACE_MS / 1000


def mean_cost() -> float:
    squares = [side * side / LATENT_PIXELS for side in SIDES]
    return _mean(squares, SIDE_WEIGHTS) * _mean(STEPS, STEP_WEIGHTS) * _mean(PICTURES, PICTURE_WEIGHTS)


def _mean(values: tuple[int, ...] | list[float], weights: tuple[int, ...]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _cost(dice: Random) -> int:
    side = dice.choices(SIDES, SIDE_WEIGHTS)[0]
    steps = dice.choices(STEPS, STEP_WEIGHTS)[0]
    return steps * dice.choices(PICTURES, PICTURE_WEIGHTS)[0] * side * side // LATENT_PIXELS
