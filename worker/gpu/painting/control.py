"""ControlNets in the lane: each is run once for all pictures of a forward.

Not for loading them (worker/gpu/models/controlnets.py), nor for making hints.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from worker.gpu.engine import Ask, Pixels, Steps
from worker.gpu.models.controlnets import LoadedControlNet
from worker.gpu.painting.conditions import Conditions
from worker.gpu.painting.kit import Kit
from worker.gpu.painting.request import Hint, PictureRequest

MASKED = -1.0


def hint_of(picture: Pixels, mask: NDArray[np.uint8] | None = None) -> Hint:
    """A picture as a hint. `mask` (height, width) is for "inpaint" ControlNets: from 128 on, a pixel is to be
    painted, and they are told so by -1."""
    hint: Hint = picture.astype(np.float32) / np.float32(255)
    if mask is not None:
        hint[mask > 127] = MASKED
    return hint


@dataclass(frozen=True, eq=False)
class ReadHint(Ask[Tensor]):
    """What a ControlNet makes of a hint, once for a picture: (1, channels, height, width), one position for
    each of the latents. A hint of another size than the picture's is resized."""

    work: ClassVar[str] = "read_hint"
    urgent: ClassVar[bool] = True

    net: LoadedControlNet
    hint: Hint
    size: tuple[int, int]
    """Height and width of the picture in pixels."""
    alone_for: object = None

    @property
    def shape(self) -> Hashable:
        return ("hint", self.net.control_id, self.hint.shape, self.size)

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.net,)

    def answer(self, asks: Sequence["ReadHint"]) -> list[Tensor]:
        """Pictures of one job share their hint, so each distinct one is read once."""
        distinct = {id(ask.hint): ask.hint for ask in asks}
        pixels = [torch.from_numpy(hint).to(self.net.network.device) for hint in distinct.values()]
        features = self.net.read(_resized(torch.stack(pixels).permute(0, 3, 1, 2), self.size))
        place = {key: index for index, key in enumerate(distinct)}
        return [features[place[id(ask.hint)]][None] for ask in asks]


@dataclass(frozen=True)
class Hinted:
    """A ControlNet, what it made of its hint, and how strongly it is heard."""

    net: LoadedControlNet
    features: Tensor
    scale: float


@dataclass(frozen=True)
class Steering:
    """The ControlNets of one picture, if there are any."""

    hints: tuple[Hinted, ...] = ()
    hears: tuple[bool, ...] = ()
    """For each row of the forward, whether it hears them."""
    is_guessing: bool = False

    @property
    def shape(self) -> Hashable:
        """What the memory for a row depends on: the nets, and the share of the rows that they are run for."""
        names = tuple(each.net.control_id for each in self.hints)
        return (names, sum(self.hears) / len(self.hears)) if names else None

    def pick(self, rows: Sequence[int]) -> "Steering":
        """The same for these rows, in this order."""
        hears = tuple(self.hears[row] for row in rows) if self.hints else ()
        return replace(self, hears=hears) if any(hears) else UNSTEERED

    def within(self, rows: slice, columns: slice) -> "Steering":
        """The same for a window of the picture."""
        cut = [replace(each, features=each.features[:, :, rows, columns]) for each in self.hints]
        return replace(self, hints=tuple(cut))


def steered(kit: Kit, request: PictureRequest, rows: int, latents: Tensor, alone: object) -> Steps[Steering]:
    """Reads the hints of one picture for latents of this size. `rows` is 2 with guidance: the first has the
    negative prompt, and in guess mode it hears no ControlNet."""
    if not request.controls:
        return UNSTEERED
    # pictures that have the same ControlNets share forwards, in whatever order they name them
    controls = sorted(request.controls, key=lambda control: control.control_id)
    nets = [kit.controlnets[control.control_id] for control in controls]
    height, width = (side * kit.model.scale for side in latents.shape[2:])
    features: list[Tensor] = yield [
        ReadHint(net, control.hint, (height, width), alone)
        for net, control in zip(nets, controls, strict=True)
    ]
    scales = [control.scale for control in controls]
    # as the stock pipelines do: the first ControlNet decides for all
    is_guessing = request.guess_mode or kit.controlnets[request.controls[0].control_id].pools
    return Steering(
        hints=tuple(map(Hinted, nets, features, scales)),
        hears=(not is_guessing, True) if rows == 2 else (True,),
        is_guessing=is_guessing,
    )


UNSTEERED = Steering()


@dataclass(frozen=True)
class Rows:
    """The rows of a forward, as the denoiser gets them."""

    latents: Tensor
    timesteps: Tensor
    conditions: Conditions

    def pick(self, rows: list[int]) -> "Rows":
        if rows == list(range(len(self.latents))):
            return self
        return Rows(self.latents[rows], self.timesteps[rows], self.conditions.pick(rows))


def residuals(steerings: Sequence[Steering], rows: Rows) -> dict[str, object]:
    """What the denoiser is given besides its rows, those of all pictures of a lane: the sum of what their
    ControlNets say, and zeros for rows that hear none. `rows` may be more than theirs."""
    first = steerings[0]
    if not first.hints:
        return {}
    hears = [hears for steering in steerings for hears in steering.hears]
    hearing = [row for row, is_hearing in enumerate(hears) if is_hearing]
    heard = rows.pick(hearing)
    counts = [sum(steering.hears) for steering in steerings]
    total: list[Tensor] = []
    for hints in zip(*(steering.hints for steering in steerings), strict=True):
        said = _said(hints, counts, heard, is_guessing=first.is_guessing)
        total = [before + now for before, now in zip(total, said, strict=True)] if total else said
    *down, mid = [_spread(each, hearing, len(rows.latents)) for each in total]
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}


def _said(hints: Sequence[Hinted], counts: Sequence[int], rows: Rows, *, is_guessing: bool) -> list[Tensor]:
    """The down blocks' residuals, then the middle's, of one ControlNet: the one that all of `hints` have."""
    net, conditions = hints[0].net, rows.conditions
    features = [each.features.expand(count, -1, -1, -1) for each, count in zip(hints, counts, strict=True)]
    scales = [each.scale for each, count in zip(hints, counts, strict=True) for _ in range(count)]
    down, mid = net.network(
        rows.latents[:, : net.network.config.in_channels],  # a model for inpainting has the hole behind them
        rows.timesteps,
        encoder_hidden_states=conditions.embeddings,
        controlnet_cond=torch.cat(features),
        conditioning_scale=torch.tensor(scales, device=rows.latents.device).view(-1, 1, 1, 1),
        added_cond_kwargs=conditions.added,
        return_dict=False,
    )
    said = [*down, mid]
    if is_guessing and not net.pools:
        ramp = torch.logspace(-1, 0, len(said), device=mid.device)
        said = [each * factor for each, factor in zip(said, ramp, strict=True)]
    return [each.to(rows.latents.dtype) for each in said]  # they were multiplied in float32


def _spread(said: Tensor, hearing: list[int], rows: int) -> Tensor:
    if len(hearing) == rows:
        return said
    spread = said.new_zeros(rows, *said.shape[1:])
    spread[hearing] = said
    return spread


def _resized(hints: Tensor, size: tuple[int, int]) -> Tensor:
    """By the mean of what a pixel covers; one that covers a masked pixel is masked."""
    if hints.shape[2:] == size:
        return hints
    resized = functional.interpolate(hints, size, mode="area")
    masked = functional.interpolate((hints < 0).to(hints), size, mode="area") > 0
    return torch.where(masked, MASKED, resized)
