"""From what a request chose to what really runs, so that no answer names a sampler that did not sample."""

import inspect
from dataclasses import dataclass
from typing import Any

import diffusers

from shared.schedulers import SCHEDULERS
from worker.gpu.schedulers.ipndm import VpIPNDMScheduler
from worker.gpu.schedulers.karras_ve import SdKarrasVeScheduler
from worker.gpu.schedulers.score_sde_ve import SdScoreSdeVeScheduler
from worker.gpu.schedulers.steadied import SteadyDDIM, SteadyDDPM, SteadyLCM, SteadyPNDM
from worker.gpu.schedulers.swift import SwiftKDPM2, SwiftKDPM2Ancestral

MULTISTEP = "DPMSolverMultistepScheduler"
DEIS = "DEISMultistepScheduler"
# The inverse walks from a picture to its noise: run forwards it would only add noise to noise.
_FORWARD = {"DDIMInverseScheduler": "DDIMScheduler"}
_OURS: dict[str, Any] = {
    "DDPMScheduler": SteadyDDPM,
    "DDIMScheduler": SteadyDDIM,
    "PNDMScheduler": SteadyPNDM,
    "KDPM2DiscreteScheduler": SwiftKDPM2,
    "KDPM2AncestralDiscreteScheduler": SwiftKDPM2Ancestral,
    "IPNDMScheduler": VpIPNDMScheduler,
    "KarrasVeScheduler": SdKarrasVeScheduler,
    "ScoreSdeVeScheduler": SdScoreSdeVeScheduler,
    "LCMScheduler": SteadyLCM,
}
# diffusers deprecates the two without ++, and they divide by the zero at which our schedules end.
# Each runs as its ++ form: the same solver, written for the picture instead of the noise.
_ALGORITHMS = {
    None: "dpmsolver++",
    "dpmsolver": "dpmsolver++",
    "dpmsolver++": "dpmsolver++",
    "sde-dpmsolver": "sde-dpmsolver++",
    "sde-dpmsolver++": "sde-dpmsolver++",
}


@dataclass(frozen=True)
class Sampling:
    """What a request chose. `karras` and `algorithm` count only where the scheduler knows them."""

    name: str
    steps: int
    karras: bool = False
    algorithm: str | None = None


@dataclass(frozen=True)
class Ran:
    """What really runs: for the answer's meta."""

    scheduler: str
    karras: bool
    algorithm: str | None


def what_runs(sampling: Sampling) -> Ran:
    """Raises `ValueError` for a scheduler or an algorithm that does not exist."""
    if sampling.name not in SCHEDULERS:
        raise ValueError(f"no scheduler {sampling.name!r}")
    algorithm = algorithm_of(sampling)
    name = _FORWARD.get(sampling.name, sampling.name)
    return Ran(
        scheduler=name,
        karras=sampling.karras and _knows_karras(name, sampling.steps),
        algorithm=algorithm if name == MULTISTEP else None,
    )


def algorithm_of(sampling: Sampling) -> str:
    """What the multistep solver runs with. Raises `ValueError` for an algorithm that does not exist."""
    if sampling.algorithm not in _ALGORITHMS:
        raise ValueError(f"no algorithm {sampling.algorithm!r}")
    return _ALGORITHMS[sampling.algorithm]


def _knows_karras(name: str, steps: int) -> bool:
    """DEIS repeats the last Karras sigma, so its last step does nothing: one step would leave pure noise."""
    return "use_karras_sigmas" in options_of(class_of(name)) and not (name == DEIS and steps == 1)


def class_of(name: str) -> Any:
    """The class behind the name of a scheduler that runs."""
    return _OURS.get(name) or getattr(diffusers, name)


def options_of(kind: Any) -> frozenset[str]:
    """What the class can be configured with."""
    return frozenset(inspect.signature(kind.__init__).parameters)
