"""The ask for one forward of the denoiser, and how many of them are stacked into one."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor

from shared.jobs import LoraUse
from worker.gpu.engine import Ask
from worker.gpu.models.loaded import LoadedModel
from worker.gpu.painting.conditions import Conditions
from worker.gpu.painting.control import UNSTEERED, Rows, Steering, residuals

DENOISE = "denoise"
"""The work of all asks for a denoising step, whatever the model's family."""


@dataclass(frozen=True)
class Prediction:
    """`rows`: what the denoiser predicts; `attended`: how much attention each position got, if watched."""

    rows: Tensor
    attended: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Forward(Ask[Prediction]):
    """Some rows of one picture at one timestep."""

    work: ClassVar[str] = DENOISE

    model: LoadedModel
    latents: Tensor
    """(rows, channels, height, width), scaled for the model"""
    timestep: Tensor
    conditions: Conditions
    steering: Steering = UNSTEERED
    loras: tuple[LoraUse, ...] = ()
    ip_adapter: str | None = None
    tomesd: bool = False
    perturbed_row: int | None = None
    watched_row: int | None = None
    alone_for: object = None

    @property
    def rows(self) -> int:  # type: ignore[override]
        return self.conditions.rows

    @property
    def shape(self) -> Hashable:
        words, picture = self.conditions.embeddings, self.conditions.picture
        tokens = (words.shape[1], 0 if picture is None else picture.shape[2])
        size = tuple(self.latents.shape[1:])
        return ("denoise", self.model.model_id, size, tokens, self.tomesd, self.steering.shape)

    @property
    def state(self) -> Hashable:
        return (self.loras, self.ip_adapter, self.steering.is_guessing)

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.model, *(each.net for each in self.steering.hints))

    def answer(self, asks: Sequence["Forward"]) -> list[Prediction]:
        model = self.model
        model.adapters.switch(self.loras)
        model.image_prompts.switch(self.ip_adapter)
        model.merging.switch(on=self.tomesd)
        model.marks.set(
            perturbed=_in_batch(asks, [ask.perturbed_row for ask in asks]),
            watched=_in_batch(asks, [ask.watched_row for ask in asks]),
            device=model.device,
        )
        predicted = _predict(model, asks)
        scores = model.marks.take()
        attended = iter(() if scores is None else scores.split(1))
        return [
            Prediction(rows, next(attended) if ask.watched_row is not None else None)
            for ask, rows in zip(asks, predicted.split([ask.rows for ask in asks]), strict=True)
        ]


def _in_batch(asks: Sequence[Forward], rows: Sequence[int | None]) -> list[int]:
    """Where the row that each ask names, if it does, lies among the rows of all."""
    starts = accumulate([0, *(ask.rows for ask in asks[:-1])])
    return [start + row for start, row in zip(starts, rows, strict=True) if row is not None]


def _predict(model: LoadedModel, asks: Sequence[Forward]) -> Tensor:
    """(rows of all asks, channels, height, width)."""
    rows = sum(ask.rows for ask in asks)
    padded = _bucket(rows) if model.compiled else rows

    def stacked(tensors: Sequence[Tensor]) -> Tensor:
        whole = torch.cat(list(tensors))
        return (
            torch.cat([whole, whole[-1:].expand(padded - rows, *whole.shape[1:])]) if padded > rows else whole
        )

    # float32 holds every integer timestep exactly, and some schedulers' timesteps are fractions
    timesteps = stacked([ask.timestep.float().expand(ask.rows) for ask in asks])
    latents = stacked([ask.latents for ask in asks])
    conditions = Conditions.stacked([ask.conditions for ask in asks], stacked)
    inputs = Rows(latents, timesteps.to(model.device, non_blocking=True), conditions)
    words, picture = conditions.embeddings, conditions.picture
    predicted: Tensor = model.unet(
        inputs.latents,
        inputs.timesteps,
        # a pair where an IP-Adapter is on: it is the cross-attention's alone, and the UNet hands it through
        encoder_hidden_states=words if picture is None else (words, picture),
        added_cond_kwargs=conditions.added,
        timestep_cond=conditions.guidance,
        **residuals([ask.steering for ask in asks], inputs),
    ).sample
    return predicted[:rows]


def _bucket(rows: int) -> int:
    """The next power of two: a compiled model is compiled once for each number of rows."""
    return 1 << (rows - 1).bit_length()
