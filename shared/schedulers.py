"""Names of the samplers that a request may choose. What each one is, worker/gpu/schedulers/ knows."""

SCHEDULERS = (
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
)
DEFAULT_SCHEDULER = "UniPCMultistepScheduler"
FLOW_SCHEDULER = "FlowMatchEulerDiscreteScheduler"
"""What samples models that were trained on straight paths from noise to picture, when nobody says."""
TWO_CALLS_A_STEP = frozenset(
    {
        "HeunDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KarrasVeScheduler",
        "ScoreSdeVeScheduler",
    }
)
"""Samplers that call the denoiser twice for each step."""

ALGORITHMS = {
    "dpmsolver+++": "dpmsolver++",
    "dpmsolver++": "dpmsolver++",
    "sde-dpmsolver++": "sde-dpmsolver++",
    "dpmsolver": "dpmsolver",
    "sde-dpmsolver": "sde-dpmsolver",
}
"""Spellings of `algorithm_type`, the protocol's own first, and what diffusers calls them."""
