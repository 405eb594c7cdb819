"""Flux pictures from the engine, and what diffusers' own pipelines make of the same arguments."""

from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers import (
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchLCMScheduler,
    FluxImg2ImgPipeline,
    FluxPipeline,
    UniPCMultistepScheduler,
)

from worker.gpu.engine import Engine, Pixels, Rendering
from worker.gpu.flux import FluxKit, FluxRequest, paint_flux
from worker.gpu.painting import Start
from worker.gpu.schedulers import Sampling
from worker.gpu.schedulers.flow import FlowHeun

EULER = "EulerDiscreteScheduler"
FLOW_SCHEDULERS = (
    EULER,
    "HeunDiscreteScheduler",
    "LCMScheduler",
    "UniPCMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
)
"""One name for each sampler that runs on flows."""


def flux_request(**changes: Any) -> FluxRequest:
    """A small picture; `scheduler` and `steps` are short for its sampling."""
    name, steps = changes.pop("scheduler", EULER), changes.pop("steps", 5)
    values: dict[str, Any] = {
        "prompt": "a red circle",
        "width": 64,
        "height": 64,
        "sampling": Sampling(name, steps),
        "guidance_scale": 3.5,
        "seed": 1,
    }
    return FluxRequest(**(values | changes))


def start(strength: float = 0.6, *, width: int = 64, height: int = 64) -> Start:
    """Image-to-image from a picture with something in it."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([rows * 3 % 256, columns * 3 % 256, (rows + columns) * 2 % 256], axis=-1)
    return Start(picture.astype(np.uint8), strength)


def submit_flux(engine: Engine, kit: FluxKit, *requests: FluxRequest) -> Rendering:
    return engine.submit([partial(paint_flux, kit, each) for each in requests])


def painted_flux(engine: Engine, kit: FluxKit, wanted: FluxRequest) -> Pixels:
    return submit_flux(engine, kit, wanted).result()[0].develop()


def stock_flux_picture(pipeline: FluxPipeline, wanted: FluxRequest) -> Pixels:
    """What diffusers' pipeline makes of the same arguments; the sizes must be multiples of 16."""
    generator = torch.Generator().manual_seed(wanted.seed)
    arguments: dict[str, Any] = {}
    if wanted.start is not None:
        arguments = {"image": wanted.start.pixels[None] / 255.0, "strength": _stock_strength(wanted)}
    made = _with_scheduler(pipeline, wanted, generator)(
        prompt=wanted.prompt,
        negative_prompt=wanted.negative_prompt,
        true_cfg_scale=wanted.true_cfg_scale,
        width=wanted.width,
        height=wanted.height,
        num_inference_steps=wanted.sampling.steps,
        guidance_scale=wanted.guidance_scale,
        max_sequence_length=int(pipeline.tokenizer_2.model_max_length),
        generator=generator,
        output_type="np",
        **arguments,
    ).images[0]
    picture: Pixels = (made * 255).round().astype(np.uint8)
    return picture


def _stock_strength(wanted: FluxRequest) -> float:
    """The stock pipeline takes Heun's calls, two for each step but the last, for steps."""
    assert wanted.start is not None
    strength, steps = wanted.start.strength, wanted.sampling.steps
    if wanted.sampling.name != "HeunDiscreteScheduler":
        return strength
    calls = 2 * steps - 1
    return (calls - 2 * int(steps - steps * strength)) / calls


def _with_scheduler(
    pipeline: FluxPipeline, wanted: FluxRequest, generator: torch.Generator
) -> DiffusionPipeline:
    kind = FluxPipeline if wanted.start is None else FluxImg2ImgPipeline
    parts = pipeline.components | {"scheduler": _stock_scheduler(pipeline, wanted, generator)}
    sibling = kind(**parts)
    sibling.set_progress_bar_config(disable=True)
    return sibling


def _stock_scheduler(pipeline: FluxPipeline, wanted: FluxRequest, generator: torch.Generator) -> Any:
    """As somebody would configure it who uses diffusers alone."""
    sampling, config = wanted.sampling, pipeline.scheduler.config
    of_flows = {
        EULER: FlowMatchEulerDiscreteScheduler,
        "HeunDiscreteScheduler": FlowHeun,
        "LCMScheduler": FlowMatchLCMScheduler,
    }
    if sampling.name in of_flows:
        scheduler = of_flows[sampling.name].from_config(dict(config), use_karras_sigmas=sampling.karras)
        scheduler.order = 1
    else:
        options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
        if config.use_dynamic_shifting:
            options |= {"use_dynamic_shifting": True, "time_shift_type": "exponential"}
        if sampling.algorithm:
            options["algorithm_type"] = sampling.algorithm
        scheduler = _SOLVERS[sampling.name](**options)
    if sampling.name == "LCMScheduler" or sampling.algorithm == "sde-dpmsolver++":
        scheduler.step = partial(scheduler.step, generator=generator)  # the pipelines keep it to themselves
    return scheduler


class _AcceptedByTheStock:
    """What the stock pipelines demand of a solver and it does not have."""

    config: Any

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        base: Any = super()
        steps = num_inference_steps or len(sigmas)
        base.set_timesteps(steps, device, **({"mu": mu} if self.config.use_dynamic_shifting else {}))

    def scale_noise(self, sample: Any, timestep: Any, noise: Any) -> Any:
        base: Any = self
        return base.add_noise(sample, noise, timestep)


class _UniPC(_AcceptedByTheStock, UniPCMultistepScheduler):  # type: ignore[misc]
    pass


class _Multistep(_AcceptedByTheStock, DPMSolverMultistepScheduler):  # type: ignore[misc]
    pass


class _Singlestep(_AcceptedByTheStock, DPMSolverSinglestepScheduler):  # type: ignore[misc]
    pass


_SOLVERS = {
    "UniPCMultistepScheduler": _UniPC,
    "DPMSolverMultistepScheduler": _Multistep,
    "DPMSolverSinglestepScheduler": _Singlestep,
}
