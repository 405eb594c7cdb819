"""One guided prediction of the denoiser: classifier-free guidance, and guidance by self-attention with it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from worker.gpu.engine import Steps, one
from worker.gpu.painting.conditions import Conditions
from worker.gpu.painting.control import UNSTEERED, Steering, steered
from worker.gpu.painting.forward import Forward
from worker.gpu.painting.kit import Kit
from worker.gpu.painting.request import PictureRequest, SelfAttention
from worker.gpu.schedulers import Scheduler

SAG_SCALE = 0.75
PAG_SCALE = 3.0
BLUR_SIDE, BLUR_SIGMA = 9, 1.0


@dataclass(frozen=True)
class Guided:
    """What stays the same at every step of one picture."""

    kit: Kit
    request: PictureRequest
    conditions: Conditions
    alone: object
    steering: Steering = UNSTEERED
    surroundings: Tensor | None = None
    """(1, channels, height, width): what a model that sees the hole is given beside the latents."""

    def controlled(self, latents: Tensor) -> Steps["Guided"]:
        """The same, with the picture's ControlNets, for latents of this size."""
        rows = self.conditions.rows
        steering = yield from steered(self.kit, self.request, rows, latents, self.alone)
        return replace(self, steering=steering)

    def within(self, rows: slice, columns: slice) -> "Guided":
        """The same for a window of the picture."""
        return replace(self, steering=self.steering.within(rows, columns))

    def predict(self, scheduler: Scheduler, latents: Tensor, timestep: Tensor) -> Steps[Tensor]:
        """The prediction for `latents` (1, channels, height, width) that `scheduler.step` is to be given."""
        inputs = scheduler.scale_model_input(latents, timestep)
        if self.request.self_attention is SelfAttention.PAG:
            return (yield from self._perturbed(inputs, timestep))
        watches = self.request.self_attention is SelfAttention.SAG
        answer = yield from one(self._forward(inputs, timestep, watched_row=0 if watches else None))
        guided = self._classifier_free(answer.rows)
        if answer.attended is None:
            return guided
        degraded = self._degraded(scheduler, latents, answer.rows[:1], timestep, answer.attended)
        without = yield from one(self._forward(degraded, timestep, rows=(0,)))
        return guided + SAG_SCALE * (answer.rows[:1] - without.rows)

    def _forward(
        self,
        inputs: Tensor,
        timestep: Tensor,
        *,
        rows: tuple[int, ...] | None = None,
        perturbed_row: int | None = None,
        watched_row: int | None = None,
    ) -> Forward:
        conditions, steering = self.conditions, self.steering
        if rows is not None:
            conditions, steering = conditions.pick(rows), steering.pick(rows)
        if self.surroundings is not None:
            inputs = torch.cat([inputs, self.surroundings], dim=1)
        return Forward(
            model=self.kit.model,
            latents=inputs.expand(conditions.rows, -1, -1, -1),
            timestep=timestep,
            conditions=conditions,
            steering=steering,
            loras=self.request.loras,
            ip_adapter=self.kit.ip_adapter.key if self.request.ip and self.kit.ip_adapter else None,
            tomesd=self.request.tomesd,
            perturbed_row=perturbed_row,
            watched_row=watched_row,
            alone_for=self.alone,
        )

    def _classifier_free(self, rows: Tensor) -> Tensor:
        if len(rows) == 1:
            return rows
        without, with_prompt = rows.chunk(2)
        return without + self.request.guidance_scale * (with_prompt - without)

    def _perturbed(self, inputs: Tensor, timestep: Tensor) -> Steps[Tensor]:
        last = self.conditions.rows - 1
        rows = (*range(last + 1), last)
        answer = yield from one(self._forward(inputs, timestep, rows=rows, perturbed_row=last + 1))
        plain, perturbed = answer.rows[:-1], answer.rows[-1:]
        return self._classifier_free(plain) + PAG_SCALE * (plain[-1:] - perturbed)

    def _degraded(
        self, scheduler: Scheduler, latents: Tensor, prediction: Tensor, timestep: Tensor, attended: Tensor
    ) -> Tensor:
        """The picture that `prediction` leads to, blurred where it is most attended to, noised again."""
        signal = scheduler.alphas_cumprod[timestep.long()]
        clean, noise = _separated(scheduler, latents, prediction, signal)
        mask = self._mask(attended, clean)
        degraded = _blurred(clean) * mask + clean * (1 - mask)
        noised: Tensor = scheduler.add_noise(degraded, noise, timestep[None])
        return noised

    def _mask(self, attended: Tensor, latents: Tensor) -> Tensor:
        """1 where a position of the UNet's middle block receives more than its share of attention."""
        height, width = latents.shape[2:]
        for _ in range(len(self.kit.model.unet.config.down_block_types) - 1):
            height, width = -(-height // 2), -(-width // 2)
        coarse = (attended > 1.0).view(1, 1, height, width).to(latents.dtype)
        return functional.interpolate(coarse, latents.shape[2:])


def _separated(
    scheduler: Scheduler, latents: Tensor, prediction: Tensor, signal: Tensor
) -> tuple[Tensor, Tensor]:
    """The clean picture and the noise in `latents`, by the prediction."""
    share, rest = float(signal) ** 0.5, float(1 - signal) ** 0.5
    if scheduler.config["prediction_type"] == "v_prediction":
        return share * latents - rest * prediction, rest * latents + share * prediction
    return (latents - rest * prediction) / share, prediction


def _blurred(latents: Tensor) -> Tensor:
    """Gaussian blur; small pictures are mirrored as far as they reach."""
    offsets = torch.arange(BLUR_SIDE) - (BLUR_SIDE - 1) / 2
    bell = torch.exp(-0.5 * (offsets / BLUR_SIGMA) ** 2)
    bell = (bell / bell.sum()).to(latents)
    channels, margin = latents.shape[1], BLUR_SIDE // 2
    mode = "reflect" if min(latents.shape[2:]) > margin else "replicate"
    padded = functional.pad(latents, (margin,) * 4, mode=mode)
    kernel = torch.outer(bell, bell).expand(channels, 1, BLUR_SIDE, BLUR_SIDE)
    return functional.conv2d(padded, kernel, groups=channels)
