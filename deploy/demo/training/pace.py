"""What every training stage shares: how long it goes on, its learning rate and its averaged weights.

Stages end by the clock, so the same command gives a fuller training on a faster machine.
"""

import math
import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

FINAL_SHARE = 0.02
"""The learning rate's share that is left at a stage's end."""


def steps_for(minutes: float) -> Iterator[tuple[int, float]]:
    """Step numbers and the share of the time that has passed, until all of it has."""
    start, step = time.monotonic(), 0
    while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
        yield step, progress
        step += 1


def cosine(step: int, progress: float, *, warmup: int) -> float:
    """The learning rate's factor: up over the first steps, down along a cosine over the time."""
    return min(1.0, (step + 1) / warmup) * _descent(progress)


def flat_then_cosine(step: int, progress: float, *, warmup: int, descent: float) -> float:
    """As `cosine`, but constant until only the `descent` share of the time is left."""
    return min(1.0, (step + 1) / warmup) * _descent(max(0.0, (progress - (1 - descent)) / descent))


def _descent(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress)) * (1 - FINAL_SHARE) + FINAL_SHARE


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


class Average:
    """An exponential moving average of weights, young ones forgotten sooner."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, decay: float) -> None:
        self.parameters = list(parameters)
        self.values = [parameter.detach().clone() for parameter in self.parameters]
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 20))
        current: list[Tensor] = [parameter.detach() for parameter in self.parameters]
        torch._foreach_lerp_(self.values, current, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged weights with the ones in training; a second call undoes it."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)
