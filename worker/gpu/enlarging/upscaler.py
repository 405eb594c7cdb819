"""What enlarges a tile: the interface, and the networks for which one forward is all there is to it.

Knows nothing of large pictures: these are cut into tiles (tiling.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch

from worker.gpu.engine import Ask, Note, Pixels, Steps
from worker.gpu.enlarging.tiling import Place


class Upscaler(Protocol):
    """Makes every tile `scale` times as wide and as high; safe to use by several programs at once."""

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> int: ...

    @property
    def side(self) -> int:
        """Of the tiles that suit it, in pixels."""
        ...

    @property
    def overlap(self) -> int:
        """By how much they should, in pixels: more than it sees around a pixel."""
        ...

    def steps(
        self, tiles: Sequence[Pixels], places: Sequence[Place], alone: object, note: Note, /
    ) -> Steps[list[Pixels]]:
        """The program that enlarges these, at least one and all of one shape; `places` are theirs in the
        picture, and `alone` is the asks' `alone_for`."""
        ...


class Network(ABC):
    """An upscaler that enlarges tiles of any number of pictures in one forward."""

    name: str
    scale: int
    side = 256
    overlap = 32

    def steps(
        self, tiles: Sequence[Pixels], _places: Sequence[Place], alone: object, note: Note, /
    ) -> Steps[list[Pixels]]:
        enlarged: list[Pixels] = yield [Enlarge(self, tile, alone) for tile in tiles]
        note(1.0)
        return enlarged

    @abstractmethod
    def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
        """All in one forward; they must be of one shape."""


@dataclass(frozen=True, eq=False)
class Enlarge(Ask[Pixels]):
    """One tile."""

    work: ClassVar[str] = "enlarge"

    network: Network
    tile: Pixels
    alone_for: object = None

    @property
    def shape(self) -> Hashable:
        return ("enlarge", self.network.name, self.tile.shape)

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.network,)

    def answer(self, asks: Sequence["Enlarge"]) -> list[Pixels]:
        return self.network.enlarge([ask.tile for ask in asks])


def part_of(note: Note, begin: float, share: float) -> Note:
    """Notes the progress of a part of the work."""
    return lambda done: note(begin + done * share)


def to_input(tiles: Sequence[Pixels], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A batch of channels x height x width, 0 to 1."""
    stacked = torch.from_numpy(np.stack(tiles)).to(device)
    return (stacked.permute(0, 3, 1, 2).contiguous().float() / 255).to(dtype)


def to_pixels(enlarged: torch.Tensor) -> list[Pixels]:
    levels = (enlarged.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
