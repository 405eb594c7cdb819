"""The ask for one forward of the transformer, and how many of them are stacked into one."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from shared.jobs import LoraUse
from worker.gpu.engine import Ask
from worker.gpu.flux.encoding import Conditions
from worker.gpu.flux.loaded import LoadedFlux
from worker.gpu.flux.patches import places
from worker.gpu.painting.forward import DENOISE

TRAINED_TIMESTEPS = 1000


@dataclass(frozen=True, eq=False)
class Forward(Ask[Tensor]):
    """All rows of one picture at one timestep; answered with their velocities, shaped as `latents`."""

    work: ClassVar[str] = DENOISE

    model: LoadedFlux
    latents: Tensor
    """(1, patches, channels of a patch): the same for every row"""
    grid: tuple[int, int]
    """How many patches the picture is high and wide."""
    timestep: Tensor
    conditions: Conditions
    guidance_scale: float
    loras: tuple[LoraUse, ...] = ()
    alone_for: object = None

    @property
    def rows(self) -> int:  # type: ignore[override]
        return self.conditions.rows

    @property
    def shape(self) -> Hashable:
        tokens = self.conditions.embeddings.shape[1]
        return ("denoise", self.model.model_id, self.grid, tokens)

    @property
    def state(self) -> Hashable:
        return self.loras

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.model,)

    def answer(self, asks: Sequence["Forward"]) -> list[Tensor]:
        model = self.model
        model.adapters.switch(self.loras)
        # rounded to the model's number format before they are divided, as the stock pipeline does
        timesteps = torch.cat([ask.timestep.to(model.dtype).expand(ask.rows) for ask in asks])
        predicted: Tensor = model.transformer(
            hidden_states=torch.cat([ask.latents.expand(ask.rows, -1, -1) for ask in asks]),
            timestep=(timesteps / TRAINED_TIMESTEPS).to(model.device, non_blocking=True),
            guidance=_guidance(asks) if model.takes_guidance_as_input else None,
            pooled_projections=torch.cat([ask.conditions.pooled for ask in asks]),
            encoder_hidden_states=torch.cat([ask.conditions.embeddings for ask in asks]),
            txt_ids=torch.zeros(self.conditions.embeddings.shape[1], 3, device=model.device),
            img_ids=places(self.grid, model.device),
        ).sample
        return list(predicted.split([ask.rows for ask in asks]))


def _guidance(asks: Sequence[Forward]) -> Tensor:
    scales = [ask.guidance_scale for ask in asks for _ in range(ask.rows)]
    return torch.tensor(scales, dtype=torch.float32).to(asks[0].model.device, non_blocking=True)
