"""The eighteen samplers, asked of a model whose best answer is known in closed form: no trained weights."""

import inspect
import logging
import time
from collections.abc import Iterator
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from shared.schedulers import DEFAULT_SCHEDULER, SCHEDULERS
from worker.gpu.schedulers import Ran, Sampling, Scheduler, make_scheduler, what_runs

DOCUMENTED = [
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "DPMSolverSinglestepScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "UniPCMultistepScheduler",
    "DDIMInverseScheduler",
    "DEISMultistepScheduler",
    "IPNDMScheduler",
    "KarrasVeScheduler",
    "ScoreSdeVeScheduler",
    "LCMScheduler",
]
ADAPTERS = ("IPNDMScheduler", "KarrasVeScheduler", "ScoreSdeVeScheduler")
ALGORITHMS = (None, "dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++")
KNOW_KARRAS = [name for name in SCHEDULERS if what_runs(Sampling(name, 20, karras=True)).karras]
STABLE_DIFFUSION: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "skip_prk_steps": True,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
LINEAR = {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}
TRAINED = {"trained_betas": np.linspace(0.0005, 0.015, 1000).tolist()}
PURE_NOISE = {
    "rescale_betas_zero_snr": True,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}


class TwoPoints:
    """The best model there can be of pictures in which every number is -1 or 1, each as likely."""

    def __init__(self, config: dict[str, Any]) -> None:
        schedule = diffusers.DDIMScheduler.from_config(config)
        signal = schedule.alphas_cumprod.double().clamp(min=2.0**-24).numpy()
        self._log_sigmas = np.log((1 - signal) / signal) / 2
        self._prediction_type = config["prediction_type"]

    def __call__(self, scaled: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        sigma = np.exp(np.interp(float(timestep), np.arange(len(self._log_sigmas)), self._log_sigmas))
        a, s = 1 / np.hypot(sigma, 1), sigma / np.hypot(sigma, 1)
        x = scaled.double()
        clean = torch.tanh(x * a / s**2)
        noise = (x - a * clean) / s
        said = noise if self._prediction_type == "epsilon" else a * noise - s * clean
        answer: torch.Tensor = said.to(scaled.dtype)
        return answer


def a_picture() -> torch.Tensor:
    return torch.where(torch.arange(1024).view(1, 4, 16, 16) % 3 == 0, 1.0, -1.0)


def some_noise(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1)).to(dtype)


def denoised(
    scheduler: Scheduler, model: TwoPoints, latents: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    accepted = inspect.signature(scheduler.step).parameters
    offered = {"eta": 0.0, "generator": torch.Generator().manual_seed(2)}
    options = {name: value for name, value in offered.items() if name in accepted}
    for timestep in timesteps:
        said = model(scheduler.scale_model_input(latents, timestep), timestep)
        latents = scheduler.step(said, timestep, latents, **options).prev_sample
    return latents


def sampled(sampling: Sampling, config: dict[str, Any], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    scheduler = make_scheduler(sampling, config)
    latents = some_noise(dtype) * scheduler.init_noise_sigma
    return denoised(scheduler, TwoPoints(config), latents, scheduler.timesteps)


def begun_from_picture(scheduler: Scheduler, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and timesteps, as the stock image-to-image pipeline gets them."""
    begin = step * scheduler.order
    rest = scheduler.timesteps[begin:]
    scheduler.set_begin_index(begin)
    return scheduler.add_noise(a_picture(), some_noise(), rest[:1]), rest


def distance_to_data(latents: torch.Tensor) -> float:
    """Root mean square of what is between the numbers and the nearer of -1 and 1."""
    return float(((latents.float().abs() - 1) ** 2).mean().sqrt())


@pytest.fixture
def said_by_diffusers(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    diffusers.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        yield caplog
    diffusers.utils.logging.disable_propagation()


def test_the_names_are_the_documented_ones_in_the_documented_order() -> None:
    assert list(SCHEDULERS) == DOCUMENTED
    assert DEFAULT_SCHEDULER in SCHEDULERS


@pytest.mark.parametrize("karras", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 5, 21, 50])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_takes_every_number_of_steps(name: str, steps: int, karras: bool) -> None:
    latents = sampled(Sampling(name, steps, karras=karras), STABLE_DIFFUSION)

    assert latents.isfinite().all()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_no_number_of_steps_from_1_to_50_is_refused(name: str) -> None:
    for steps in range(1, 51):
        for karras in (False, True):
            scheduler = make_scheduler(Sampling(name, steps, karras=karras), STABLE_DIFFUSION)
            assert len(scheduler.timesteps) >= steps


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("steps", [1, 2, 5, 21, 50])
def test_every_algorithm_takes_every_number_of_steps(steps: int, algorithm: str | None) -> None:
    for karras in (False, True):
        sampling = Sampling("DPMSolverMultistepScheduler", steps, karras, algorithm)

        assert sampled(sampling, STABLE_DIFFUSION).isfinite().all()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_one_step_removes_noise_instead_of_returning_it(name: str) -> None:
    for karras in (False, True):
        latents = sampled(Sampling(name, 1, karras=karras), STABLE_DIFFUSION)

        # of the two points one step can only know the middle, which is 0
        assert latents.abs().max() < 0.5


@pytest.mark.parametrize("name", SCHEDULERS)
def test_making_a_scheduler_takes_no_time_from_the_pictures_that_wait(name: str) -> None:
    make_scheduler(Sampling(name, 50), STABLE_DIFFUSION)

    started = time.process_time()
    for _ in range(10):
        make_scheduler(Sampling(name, 50), STABLE_DIFFUSION)

    assert time.process_time() - started < 0.3


@pytest.mark.parametrize("name", ["KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"])
def test_what_is_made_faster_samples_as_diffusers_does(name: str) -> None:
    stock = getattr(diffusers, name).from_config(STABLE_DIFFUSION)
    stock.set_timesteps(8)
    model = TwoPoints(STABLE_DIFFUSION)

    theirs = denoised(stock, model, some_noise() * stock.init_noise_sigma, stock.timesteps)

    assert torch.equal(sampled(Sampling(name, 8), STABLE_DIFFUSION), theirs)


def test_lcm_takes_more_steps_than_its_model_was_distilled_with() -> None:
    scheduler = make_scheduler(
        Sampling("LCMScheduler", 50), {**STABLE_DIFFUSION, "original_inference_steps": 8}
    )

    assert len(scheduler.timesteps) == 50


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_sampling_lands_on_the_data(name: str, prediction_type: str) -> None:
    config = {**STABLE_DIFFUSION, "prediction_type": prediction_type}

    assert distance_to_data(sampled(Sampling(name, 30), config)) < 0.08


@pytest.mark.parametrize("name", KNOW_KARRAS)
def test_sampling_with_karras_sigmas_lands_on_the_data(name: str) -> None:
    assert distance_to_data(sampled(Sampling(name, 30, karras=True), STABLE_DIFFUSION)) < 0.08


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_lands_on_the_data(algorithm: str | None) -> None:
    sampling = Sampling("DPMSolverMultistepScheduler", 30, algorithm=algorithm)

    assert distance_to_data(sampled(sampling, STABLE_DIFFUSION)) < 0.08


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("schedule", [LINEAR, TRAINED], ids=["linear", "trained_betas"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_the_adapters_follow_the_schedule_the_model_was_trained_on(
    name: str, schedule: dict[str, Any], prediction_type: str
) -> None:
    config = {**STABLE_DIFFUSION, **schedule, "prediction_type": prediction_type}

    assert distance_to_data(sampled(Sampling(name, 30), config)) < 0.1


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_adapters_sample_from_models_trained_down_to_pure_noise(name: str) -> None:
    assert distance_to_data(sampled(Sampling(name, 30), {**STABLE_DIFFUSION, **PURE_NOISE})) < 0.1


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_adapters_refuse_a_model_that_predicts_something_else(name: str) -> None:
    with pytest.raises(ValueError, match="prediction_type"):
        make_scheduler(Sampling(name, 20), {**STABLE_DIFFUSION, "prediction_type": "sample"})


@pytest.mark.parametrize("step", [1, 2, 7, 14, 19])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_denoising_from_any_step_of_a_picture_lands_on_the_data(name: str, step: int) -> None:
    scheduler = make_scheduler(Sampling(name, 20), STABLE_DIFFUSION)
    latents, rest = begun_from_picture(scheduler, step)

    assert distance_to_data(denoised(scheduler, TwoPoints(STABLE_DIFFUSION), latents, rest)) < 0.15


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_picture_with_little_noise_comes_back_nearly_unchanged(name: str) -> None:
    scheduler = make_scheduler(Sampling(name, 20), STABLE_DIFFUSION)
    latents, rest = begun_from_picture(scheduler, 19)

    kept = denoised(scheduler, TwoPoints(STABLE_DIFFUSION), latents, rest)

    assert (kept.sign() == a_picture()).float().mean() > 0.99


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LCMScheduler"])
def test_adding_noise_on_a_device_leaves_the_table_on_the_cpu(name: str) -> None:
    scheduler: Any = make_scheduler(Sampling(name, 20), STABLE_DIFFUSION)
    on_device = torch.empty(1, 4, 16, 16, device="meta")

    noisy = scheduler.add_noise(on_device, on_device, scheduler.timesteps[:1])

    assert noisy.device.type == "meta"
    assert scheduler.alphas_cumprod.device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_latents_keep_their_precision_and_stay_finite(name: str, dtype: torch.dtype) -> None:
    latents = sampled(Sampling(name, 30), STABLE_DIFFUSION, dtype)

    assert latents.dtype == dtype
    assert distance_to_data(latents) < 0.1


@pytest.mark.parametrize("name", SCHEDULERS)
def test_half_precision_noise_is_added_in_half_precision(name: str) -> None:
    scheduler = make_scheduler(Sampling(name, 20), STABLE_DIFFUSION)

    noisy = scheduler.add_noise(a_picture().half(), some_noise(torch.float16), scheduler.timesteps[:1])

    assert noisy.dtype == torch.float16
    assert noisy.isfinite().all()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_same_seed_samples_the_same(name: str) -> None:
    first, again = (sampled(Sampling(name, 8), STABLE_DIFFUSION) for _ in range(2))

    assert torch.equal(first, again)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_setting_timesteps_again_starts_anew(name: str) -> None:
    """As the stock pipeline does at every call."""
    scheduler: Any = make_scheduler(Sampling(name, 8), STABLE_DIFFUSION)
    model = TwoPoints(STABLE_DIFFUSION)
    first = denoised(scheduler, model, some_noise() * scheduler.init_noise_sigma, scheduler.timesteps)

    scheduler.set_timesteps(8, device="cpu")
    again = denoised(scheduler, model, some_noise() * scheduler.init_noise_sigma, scheduler.timesteps)

    assert torch.equal(first, again)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_adapters_are_the_diffusers_schedulers_of_that_name(name: str) -> None:
    assert isinstance(make_scheduler(Sampling(name, 8), STABLE_DIFFUSION), getattr(diffusers, name))


def test_the_inverse_is_no_sampler_and_its_forward_counterpart_is_named() -> None:
    assert what_runs(Sampling("DDIMInverseScheduler", 20)) == Ran("DDIMScheduler", False, None)

    inverse, forward = (
        sampled(Sampling(name, 8), STABLE_DIFFUSION) for name in ("DDIMInverseScheduler", "DDIMScheduler")
    )
    assert torch.equal(inverse, forward)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_karras_is_reported_where_it_changes_the_schedule_and_nowhere_else(name: str) -> None:
    plain, karras = (make_scheduler(Sampling(name, 20, karras=on), STABLE_DIFFUSION) for on in (False, True))

    differs = not torch.equal(plain.timesteps, karras.timesteps)

    assert what_runs(Sampling(name, 20, karras=True)).karras is differs
    assert what_runs(Sampling(name, 20, karras=False)).karras is False


def test_karras_is_not_reported_for_a_single_step_of_deis_which_cannot_have_it() -> None:
    assert what_runs(Sampling("DEISMultistepScheduler", 1, karras=True)).karras is False
    assert what_runs(Sampling("DEISMultistepScheduler", 2, karras=True)).karras is True


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_algorithm_is_reported_for_the_scheduler_that_has_one(name: str) -> None:
    reported = what_runs(Sampling(name, 20, algorithm="sde-dpmsolver++")).algorithm

    assert reported == ("sde-dpmsolver++" if name == "DPMSolverMultistepScheduler" else None)


@pytest.mark.parametrize(
    ("asked", "runs"),
    [
        (None, "dpmsolver++"),
        ("dpmsolver", "dpmsolver++"),
        ("dpmsolver++", "dpmsolver++"),
        ("sde-dpmsolver", "sde-dpmsolver++"),
        ("sde-dpmsolver++", "sde-dpmsolver++"),
    ],
)
def test_the_reported_algorithm_is_the_one_that_runs(asked: str | None, runs: str) -> None:
    sampling = Sampling("DPMSolverMultistepScheduler", 20, algorithm=asked)

    assert what_runs(sampling).algorithm == runs
    assert make_scheduler(sampling, STABLE_DIFFUSION).config.algorithm_type == runs


@pytest.mark.parametrize("ask", [what_runs, lambda sampling: make_scheduler(sampling, STABLE_DIFFUSION)])
@pytest.mark.parametrize(
    "sampling", [Sampling("Magic", 20), Sampling("DDIMScheduler", 20, algorithm="magic")]
)
def test_what_does_not_exist_is_refused(ask: Any, sampling: Sampling) -> None:
    with pytest.raises(ValueError, match=r"no (scheduler|algorithm) '[Mm]agic'"):
        ask(sampling)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_scheduler_that_the_model_was_saved_with_changes_nothing(
    name: str, said_by_diffusers: pytest.LogCaptureFixture
) -> None:
    schedule = {key: STABLE_DIFFUSION[key] for key in ("beta_start", "beta_end", "beta_schedule")}
    plain = diffusers.DPMSolverMultistepScheduler(**schedule)
    strange = diffusers.DPMSolverMultistepScheduler(
        **schedule, algorithm_type="sde-dpmsolver++", use_karras_sigmas=True, lower_order_final=False
    )

    from_plain, from_strange = (sampled(Sampling(name, 21), dict(saved.config)) for saved in (plain, strange))

    assert torch.equal(from_plain, from_strange)
    assert not said_by_diffusers.records


def test_a_default_of_the_saved_scheduler_is_no_choice_of_the_model() -> None:
    """DDIM by default clips to [-1, 1] and leads; neither may reach latents, or a single step."""
    saved = dict(diffusers.DDIMScheduler().config)

    for steps, spacing in ((1, "trailing"), (2, "leading")):
        scheduler = make_scheduler(Sampling("DDIMScheduler", steps), saved)

        assert scheduler.config.clip_sample is False
        assert scheduler.config.timestep_spacing == spacing


@pytest.mark.parametrize("name", KNOW_KARRAS)
def test_karras_sigmas_replace_another_spacing_of_the_model(name: str) -> None:
    config = {**STABLE_DIFFUSION, "use_beta_sigmas": True}

    scheduler = make_scheduler(Sampling(name, 20, karras=True), config)

    assert scheduler.config.use_karras_sigmas
