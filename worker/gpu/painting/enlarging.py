"""Makes finished pictures twice as large, tile by tile, so that other pictures' steps come between."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from worker.gpu.engine import Ask, Pixels, Steps
from worker.gpu.finishing.tiling import Tiles, cut, resize_to
from worker.gpu.finishing.upscale import Upscaler, lanczos

FACTOR = 2
TILE, OVERLAP = 256, 32
"""Pixels: tiles like the pictures that upscalers are trained on, overlapping by more than they see."""


@dataclass(frozen=True, eq=False)
class Enlarge(Ask[Pixels]):
    """One tile."""

    upscaler: Upscaler
    tile: Pixels
    alone_for: object = None

    @property
    def shape(self) -> Hashable:
        return ("enlarge", self.upscaler.name, self.tile.shape)

    def answer(self, asks: Sequence["Enlarge"]) -> list[Pixels]:
        return self.upscaler.enlarge([ask.tile for ask in asks])


def enlarged(upscaler: Upscaler | None, picture: Pixels, alone: object) -> Steps[Callable[[], Pixels]]:
    """Runs the network; returns what is left to do for a thread that is not the engine's."""
    if upscaler is None:
        return lambda: lanczos(picture, FACTOR)
    tiles = cut(picture, TILE, OVERLAP)
    answers: list[Pixels] = yield [Enlarge(upscaler, tile, alone) for tile in tiles.pieces]
    return lambda: _joined(tiles, answers, upscaler.scale, picture)


def _joined(tiles: Tiles, enlarged_tiles: Sequence[Pixels], scale: int, picture: Pixels) -> Pixels:
    whole = tiles.join(enlarged_tiles, scale)
    height, width, _ = picture.shape
    return whole if scale == FACTOR else resize_to(whole, (width * FACTOR, height * FACTOR))
