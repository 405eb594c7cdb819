"""The samplers for flows, asked of a model whose best answer is known in closed form: no trained weights."""

import inspect
import math
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler
from torch import Tensor

from shared.schedulers import SCHEDULERS
from worker.gpu.schedulers import FlowScheduler, Ran, Sampling, make_flow_scheduler, what_runs_flow
from worker.gpu.schedulers.flow import FlowHeun

DEV: dict[str, Any] = {"num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": True}
SCHNELL: dict[str, Any] = {"num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": False}
LINEAR = DEV | {"time_shift_type": "linear"}
PATCHES = 1024
FORMS = {
    "HeunDiscreteScheduler": "FlowMatchHeunDiscreteScheduler",
    "LCMScheduler": "FlowMatchLCMScheduler",
    "UniPCMultistepScheduler": "UniPCMultistepScheduler",
    "DPMSolverMultistepScheduler": "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler": "DPMSolverSinglestepScheduler",
}
FOLLOW_THE_FLOW = [name for name in SCHEDULERS if name != "LCMScheduler"]
"""Those that add no noise on their way."""

MEAN, SPREAD = 0.7, 0.3
"""Of the pictures that the model knows: their values are normally distributed."""


def velocity(x: Tensor, noise: float) -> Tensor:
    """What a perfect model of such pictures says of `x`, when it holds this share of noise."""
    clean = 1 - noise
    variance = clean**2 * SPREAD**2 + noise**2
    return (noise - clean * SPREAD**2) / variance * (x - clean * MEAN) - MEAN


def walked(scheduler: FlowScheduler, noise: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    takes_noise = "generator" in inspect.signature(scheduler.step).parameters
    options = {"generator": generator} if takes_noise else {}
    x = noise
    for timestep in scheduler.timesteps:
        predicted = velocity(x.float(), float(timestep) / 1000).to(x.dtype)
        x = scheduler.step(predicted, timestep, x, **options).prev_sample
    return x


def noise(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0)).to(dtype)


def error(sampling: Sampling, config: dict[str, Any]) -> float:
    """How far the walk ends from where the flow leads, root mean square."""
    made = walked(make_flow_scheduler(sampling, config, PATCHES), noise())
    return float((made - (MEAN + SPREAD * noise())).square().mean().sqrt())


@pytest.mark.parametrize("config", [DEV, SCHNELL, LINEAR], ids=["dev", "schnell", "linear"])
@pytest.mark.parametrize("name", FOLLOW_THE_FLOW)
def test_every_sampler_follows_the_flow_to_its_picture(name: str, config: dict[str, Any]) -> None:
    assert error(Sampling(name, 40), config) < 0.05


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling("LCMScheduler", 40),
        Sampling("DPMSolverMultistepScheduler", 40, algorithm="sde-dpmsolver++"),
    ],
)
def test_samplers_that_draw_noise_end_among_the_pictures(sampling: Sampling) -> None:
    made = walked(make_flow_scheduler(sampling, DEV, PATCHES), noise())

    assert float(made.mean()) == pytest.approx(MEAN, abs=0.02)
    assert 0.5 * SPREAD < float(made.std()) < 1.5 * SPREAD


@pytest.mark.parametrize("name", SCHEDULERS)
def test_one_step_ends_at_the_mean_of_all_pictures(name: str) -> None:
    made = walked(make_flow_scheduler(Sampling(name, 1), DEV, PATCHES), noise())

    assert float((made - MEAN).abs().max()) < 0.02


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_number_format_of_the_latents_is_kept(name: str) -> None:
    made = walked(make_flow_scheduler(Sampling(name, 5), DEV, PATCHES), noise(torch.bfloat16))

    assert made.dtype is torch.bfloat16
    assert made.isfinite().all()


def test_what_runs_is_told_by_its_own_name() -> None:
    ran = {name: what_runs_flow(Sampling(name, 20)).scheduler for name in SCHEDULERS}

    assert ran == dict.fromkeys(SCHEDULERS, "FlowMatchEulerDiscreteScheduler") | FORMS


@pytest.mark.parametrize("name", ["FlowMatchEulerDiscreteScheduler", "no such sampler"])
def test_every_other_name_runs_as_eulers_method(name: str) -> None:
    assert what_runs_flow(Sampling(name, 20)) == Ran("FlowMatchEulerDiscreteScheduler", False, None)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_karras_spacing_is_told_where_it_changes_the_schedule(name: str) -> None:
    plain, karras = Sampling(name, 20), Sampling(name, 20, karras=True)

    schedules = [make_flow_scheduler(each, DEV, PATCHES).sigmas for each in (plain, karras)]

    assert what_runs_flow(karras).karras == (not torch.equal(*schedules))


def test_karras_spacing_takes_the_place_of_the_models_own() -> None:
    own = DEV | {"use_exponential_sigmas": True}

    scheduler = make_flow_scheduler(Sampling("EulerDiscreteScheduler", 20, karras=True), own, PATCHES)

    other = make_flow_scheduler(Sampling("EulerDiscreteScheduler", 20, karras=True), DEV, PATCHES)
    assert torch.equal(scheduler.sigmas, other.sigmas)


def test_only_the_multistep_solver_has_an_algorithm() -> None:
    algorithms = {
        name: what_runs_flow(Sampling(name, 20, algorithm="sde-dpmsolver")).algorithm for name in SCHEDULERS
    }

    assert algorithms == dict.fromkeys(SCHEDULERS) | {"DPMSolverMultistepScheduler": "sde-dpmsolver++"}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_schedule_goes_from_pure_noise_to_none(name: str) -> None:
    scheduler = make_flow_scheduler(Sampling(name, 10), DEV, PATCHES)

    assert float(scheduler.sigmas[0]) == pytest.approx(1, abs=0.001)
    assert float(scheduler.sigmas[-1]) == 0
    assert (scheduler.sigmas.diff() <= 0).all()
    assert len(scheduler.timesteps) == 10 * scheduler.order - (scheduler.order - 1)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_large_pictures_spend_more_steps_where_there_is_much_noise(name: str) -> None:
    small, large = (
        make_flow_scheduler(Sampling(name, 10), DEV, patches).sigmas.mean() for patches in (256, 4096)
    )
    unshifted = [make_flow_scheduler(Sampling(name, 10), SCHNELL, patches).sigmas for patches in (256, 4096)]

    assert large > small
    assert torch.equal(*unshifted)


def shift(name: str, config: dict[str, Any]) -> float:
    """How many times the odds of noise are higher than without a shift."""
    plain, shifted = (
        float(make_flow_scheduler(Sampling(name, 10), each, PATCHES).sigmas[5]) for each in (SCHNELL, config)
    )
    return shifted / (1 - shifted) * (1 - plain) / plain


@pytest.mark.parametrize("config", [DEV, LINEAR, SCHNELL | {"shift": 3.0}], ids=["dev", "linear", "fixed"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_sampler_is_shifted_as_the_models_own(name: str, config: dict[str, Any]) -> None:
    assert shift(name, config) == pytest.approx(shift("EulerDiscreteScheduler", config), rel=0.001)


def test_heuns_method_equals_diffusers_own_where_that_has_the_same_table() -> None:
    stock = FlowMatchHeunDiscreteScheduler()
    stock.set_timesteps(8)
    ours = FlowHeun()
    ours.set_timesteps(8)

    assert torch.equal(ours.sigmas, stock.sigmas)
    assert torch.equal(ours.timesteps, stock.timesteps)
    assert torch.allclose(walked(ours, noise()), walked(stock, noise()), atol=1e-5)


def test_heuns_method_comes_nearer_than_eulers_in_as_many_steps() -> None:
    heun, euler = (
        error(Sampling(name, 40), DEV) for name in ("HeunDiscreteScheduler", "EulerDiscreteScheduler")
    )

    assert heun < euler / 2


def test_the_table_is_that_of_the_models_own_scheduler() -> None:
    steps, mu = 12, 0.5 + (1.15 - 0.5) * (PATCHES - 256) / (4096 - 256)
    stock = FlowMatchEulerDiscreteScheduler(**DEV)
    stock.set_timesteps(sigmas=[1 - i / steps for i in range(steps)], mu=mu)

    made = make_flow_scheduler(Sampling("EulerDiscreteScheduler", steps), DEV, PATCHES)

    assert torch.allclose(made.sigmas, stock.sigmas, atol=1e-6)
    assert float(made.sigmas[6]) == pytest.approx(math.exp(mu) / (math.exp(mu) + 1), abs=1e-6)


def test_no_unknown_algorithm_is_taken() -> None:
    with pytest.raises(ValueError, match="no algorithm"):
        what_runs_flow(Sampling("DPMSolverMultistepScheduler", 20, algorithm="guess"))
