"""The UNet's finish: larger pictures, and a conditional prediction that suits the usual guidance scale.

Stable Diffusion's users guide by 7.5, which drives a model of so few, so distinct pictures far past every
colour it knows. So the conditional prediction is moved towards the unconditional one until a guidance of
`NEUTRAL_GUIDANCE` (and not of 1) gives what is really expected: 7.5 then pulls as 7.5 / NEUTRAL_GUIDANCE
did.
"""

import torch
from torch import Tensor

from deploy.demo.training.latents import Lessons
from deploy.demo.training.unet import HalfPrecision, Listener, NoiseLevels

NEUTRAL_GUIDANCE = 3.0


def learn_to_be_guided(
    rough: HalfPrecision, levels: NoiseLevels, lessons: Lessons, listener: Listener, batch: int
) -> float:
    rows = torch.randint(len(lessons.scenes), (batch,))
    latents = lessons.latents[rows]
    words = listener.hear(lessons, rows.tolist())
    words = torch.cat([listener.silence(batch, length=words.shape[1]), words])
    noise, timesteps = torch.randn_like(latents), levels.draw(batch)
    noisy = levels.noised(latents, noise, timesteps)
    plain, conditional = rough(noisy.repeat(2, 1, 1, 1), timesteps.repeat(2), words).chunk(2)
    guided = plain.detach() + NEUTRAL_GUIDANCE * (conditional - plain.detach())
    weight = levels.weight[timesteps]
    loss = _error(guided, noise, weight) + 0.5 * _error(plain, noise, weight)
    loss.backward()
    return float(loss.detach())


def _error(predicted: Tensor, noise: Tensor, weight: Tensor) -> Tensor:
    return (weight * (predicted - noise).square().mean((1, 2, 3))).mean()
