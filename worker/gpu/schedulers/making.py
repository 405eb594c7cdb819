"""Makes the scheduler object of one picture. Each picture owns its own: they keep state."""

from collections.abc import Mapping, Set
from typing import Any

from worker.gpu.schedulers.choice import DEIS, MULTISTEP, Ran, Sampling, class_of, options_of, what_runs
from worker.gpu.schedulers.protocol import Scheduler

LCM_STEPS = 50
_DEFAULTED = "_use_default_values"
"""Where diffusers lists the options that nobody chose, in whose place a class puts its own defaults."""
_OTHER_SPACINGS = ("use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas")


def make_scheduler(sampling: Sampling, base_config: Mapping[str, Any]) -> Scheduler:
    """A fresh scheduler with its timesteps set, its tables on the CPU so that no step waits for the device.

    `base_config` is the model's own; raises `ValueError` for a name that is not in `SCHEDULERS`.
    """
    ran = what_runs(sampling)
    kind = class_of(ran.scheduler)
    known = options_of(kind)
    scheduler = kind.from_config(
        _only(known | {_DEFAULTED}, base_config), **_only(known, _overrides(ran, sampling.steps, base_config))
    )
    if sampling.steps == 1 and scheduler.config.get("timestep_spacing") == "leading":
        # The only timestep of one leading step is the cleanest: the picture would be its own noise.
        scheduler.register_to_config(timestep_spacing="trailing")
    scheduler.set_timesteps(sampling.steps)
    return scheduler  # type: ignore[no-any-return]


def _only(known: Set[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers complains about each option that a class does not know."""
    return {option: value for option, value in options.items() if option in known}


def _overrides(ran: Ran, steps: int, base: Mapping[str, Any]) -> dict[str, Any]:
    """What must not come from a config that was saved for another scheduler."""
    overrides: dict[str, Any] = {
        "clip_sample": False,  # would clip latents to [-1, 1]
        "skip_prk_steps": True,  # PRK steps would triple the first steps of PNDM
        "lower_order_final": True,  # the single-step solver switches it on anyway, with a warning
        "use_karras_sigmas": ran.karras,
        "algorithm_type": _algorithm_type(ran),
        # LCM takes its timesteps from among these, so it cannot do with fewer
        "original_inference_steps": max(steps, base.get("original_inference_steps") or LCM_STEPS),
    }
    if ran.karras:
        overrides |= dict.fromkeys(_OTHER_SPACINGS, False)  # diffusers refuses two spacings at once
    return overrides


def _algorithm_type(ran: Ran) -> str:
    """The multistep solver runs as asked; the others with such an option have one that always works."""
    if ran.scheduler == MULTISTEP:
        return ran.algorithm or "dpmsolver++"
    return "deis" if ran.scheduler == DEIS else "dpmsolver++"
