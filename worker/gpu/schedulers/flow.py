"""The samplers for flow matching (Flux): what each name runs as there, and a fresh object for each picture.

A flow goes straight from noise to the picture, and large pictures spend more of their steps where there is
much noise: the shift. The samplers of Stable Diffusion, whose noise levels are others, are in choice.py.
"""

from collections.abc import Mapping
from math import exp
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchLCMScheduler,
    UniPCMultistepScheduler,
)
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from torch import Tensor

from worker.gpu.schedulers.choice import MULTISTEP, Ran, Sampling, algorithm_of, options_of

FLOW_EULER = "FlowMatchEulerDiscreteScheduler"


class FlowScheduler(Protocol):
    """The part of diffusers' flow schedulers that is used here.

    To start from a picture at step `i`: `timesteps[i * order :]` is what is left to do, which
    `set_begin_index(i * order)` tells it, and the share of noise is then `sigmas[i * order]`.
    """

    timesteps: Tensor
    sigmas: Tensor
    order: int
    config: Any

    def set_begin_index(self, begin_index: int = 0) -> None: ...

    def step(self, model_output: Tensor, timestep: Tensor, sample: Tensor, **kwargs: Any) -> Any: ...


class FlowHeun(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """Heun's method, Algorithm 1 of arXiv 2206.00364, which asks the model twice for each step but the last.

    diffusers' own knows neither the shift by the picture's size nor other spacings; this takes the Euler
    scheduler's table.
    """

    order = 2
    timesteps: Tensor
    sigmas: Tensor

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Any = None,
        mu: float | None = None,
        timesteps: Any = None,
    ) -> None:
        super().set_timesteps(num_inference_steps, device, sigmas, mu, timesteps)
        self.timesteps = _doubled(self.timesteps)
        self.sigmas = torch.cat([_doubled(self.sigmas[:-1]), self.sigmas[-1:]])
        self._begun: tuple[Tensor, Tensor] | None = None

    def step(
        self, model_output: Tensor, timestep: Tensor, sample: Tensor, return_dict: bool = True
    ) -> SchedulerOutput | tuple[Tensor]:
        if self.step_index is None:
            self._init_step_index(timestep)
        index, velocity = self.step_index, model_output.float()
        if self._begun is None:
            start, length = sample.float(), self.sigmas[index + 1] - self.sigmas[index]
            self._begun = (start, velocity)
        else:
            start, first = self._begun
            length = self.sigmas[index] - self.sigmas[index - 1]
            velocity = (first + velocity) / 2
            self._begun = None
        self._step_index = index + 1
        moved = (start + length * velocity).to(sample.dtype)
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)


def _doubled(table: Tensor) -> Tensor:
    """All but the first twice."""
    return torch.cat([table[:1], table[1:].repeat_interleave(2)])


# DEIS has a flow form too, but misses the picture by far (its mean, even after 30 steps).
_EULER_LIKE: dict[str, Any] = {
    FLOW_EULER: FlowMatchEulerDiscreteScheduler,
    "FlowMatchHeunDiscreteScheduler": FlowHeun,
    "FlowMatchLCMScheduler": FlowMatchLCMScheduler,
}
"""Those with a table of their own for flows; they know Karras' spacing."""
_SOLVERS: dict[str, Any] = {
    "UniPCMultistepScheduler": UniPCMultistepScheduler,
    MULTISTEP: DPMSolverMultistepScheduler,
    "DPMSolverSinglestepScheduler": DPMSolverSinglestepScheduler,
}
"""Solvers that can be told to walk a flow. Their Karras spacing is for other noise levels."""
_FORMS = {
    "HeunDiscreteScheduler": "FlowMatchHeunDiscreteScheduler",
    "LCMScheduler": "FlowMatchLCMScheduler",
    **{name: name for name in _SOLVERS},
}


def what_runs_flow(sampling: Sampling) -> Ran:
    """Every name runs; what has no form for flows runs as Euler's method.

    Raises `ValueError` for an algorithm that does not exist.
    """
    name = _FORMS.get(sampling.name, FLOW_EULER)
    return Ran(
        scheduler=name,
        karras=sampling.karras and name in _EULER_LIKE,
        algorithm=algorithm_of(sampling) if name == MULTISTEP else None,
    )


def make_flow_scheduler(sampling: Sampling, base_config: Mapping[str, Any], positions: int) -> FlowScheduler:
    """A fresh scheduler with its timesteps set, its tables on the CPU.

    `base_config` is the model's own; `positions` are those of the picture, by which the schedule is shifted.
    """
    ran = what_runs_flow(sampling)
    if ran.scheduler in _EULER_LIKE:
        kind = _EULER_LIKE[ran.scheduler]
        scheduler = kind.from_config(_spaced(kind, base_config, karras=ran.karras))
        sigmas = np.linspace(1.0, 1 / sampling.steps, sampling.steps)
        scheduler.set_timesteps(sigmas=sigmas, mu=_mu(base_config, positions))
    else:
        kind = _SOLVERS[ran.scheduler]
        scheduler = kind(**_solver_options(ran, base_config, positions))
        scheduler.set_timesteps(sampling.steps)
    return scheduler  # type: ignore[no-any-return]


def _spaced(kind: Any, base: Mapping[str, Any], *, karras: bool) -> dict[str, Any]:
    """The base's options that the class knows, with at most one spacing."""
    options = {name: value for name, value in base.items() if name in options_of(kind)}
    options["use_karras_sigmas"] = karras
    return (
        options | dict.fromkeys(("use_exponential_sigmas", "use_beta_sigmas"), False) if karras else options
    )


def _solver_options(ran: Ran, base: Mapping[str, Any], positions: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "num_train_timesteps": base.get("num_train_timesteps", 1000),
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": _shift(base, positions),
    }
    if ran.scheduler == "DPMSolverSinglestepScheduler":
        options["lower_order_final"] = True  # it switches it on anyway, with a warning
    return options | ({"algorithm_type": ran.algorithm} if ran.algorithm else {})


def _shift(base: Mapping[str, Any], positions: int) -> float:
    """The factor that the schedule is shifted by."""
    if not base.get("use_dynamic_shifting"):
        return float(base.get("shift", 1.0))
    mu = _mu(base, positions)
    return mu if base.get("time_shift_type") == "linear" else exp(mu)


def _mu(base: Mapping[str, Any], positions: int) -> float:
    return float(
        calculate_shift(
            positions,
            base.get("base_image_seq_len", 256),
            base.get("max_image_seq_len", 4096),
            base.get("base_shift", 0.5),
            base.get("max_shift", 1.15),
        )
    )
