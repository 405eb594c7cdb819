"""Cuts pictures into overlapping tiles of one shape, joins enlarged tiles without seams, and trims sizes.

Pure arithmetic: what enlarges the tiles, and in batches of how many, is not known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.gpu.engine.rendering import Pixels

Ramp = NDArray[np.float32]


@dataclass(frozen=True)
class Tiles:
    """The pieces of one picture, row by row, and where each one lies."""

    pieces: tuple[Pixels, ...]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def join(self, enlarged: Sequence[Pixels], scale: int) -> Pixels:
        """The whole picture from its enlarged pieces; where two overlap, one fades into the other.

        Besides the result it holds one row of tiles at a time, so a large picture costs little more.
        """
        height, width, _ = self.pieces[0].shape
        wanted = (height * scale, width * scale)
        if len(enlarged) != len(self.pieces) or any(tile.shape[:2] != wanted for tile in enlarged):
            raise ValueError(f"{len(self.pieces)} tiles of {wanted[1]}x{wanted[0]} px belong together.")
        tops, lefts = ([start * scale for start in starts] for starts in (self.tops, self.lefts))
        whole = np.empty((tops[-1] + height * scale, lefts[-1] + width * scale, 3), dtype=np.uint8)
        across, down = _fades(lefts, wanted[1]), _fades(tops, wanted[0])
        carried: NDArray[np.float32] = np.empty((0, whole.shape[1], 3), dtype=np.float32)
        for row, top in enumerate(tops):
            tiles = enlarged[row * len(lefts) : (row + 1) * len(lefts)]
            strip = _add_up(tiles, lefts, across) * down[row][:, None, None]
            strip[: len(carried)] += carried
            finished = (tops[row + 1] if row + 1 < len(tops) else whole.shape[0]) - top
            np.rint(strip[:finished], out=strip[:finished])
            whole[top : top + finished] = strip[:finished].clip(0, 255)
            carried = strip[finished:].copy()
        return whole


def cut(picture: Pixels, side: int, overlap: int) -> Tiles:
    """Tiles of `side` pixels (or of the picture's own side, where that is smaller), each of which shares at
    least `overlap` pixels with its neighbours."""
    if not 0 <= overlap < side:
        raise ValueError("The overlap must be smaller than a tile.")
    height, width, _ = picture.shape
    tops, lefts = _starts(height, side, overlap), _starts(width, side, overlap)
    pieces = tuple(picture[top : top + side, left : left + side] for top in tops for left in lefts)
    return Tiles(pieces, tops, lefts)


def resize_to(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Of this width and height, by Lanczos: what remains when a model enlarges more than was asked for."""
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def _starts(length: int, side: int, overlap: int) -> tuple[int, ...]:
    """As few tiles as cover the length, spread evenly."""
    if length <= side:
        return (0,)
    steps = -(-(length - side) // (side - overlap))
    return tuple(step * (length - side) // steps for step in range(steps + 1))


def _fades(starts: Sequence[int], side: int) -> list[Ramp]:
    """Each tile's weight at each of its pixels; over all tiles the weights of a pixel add up to one."""
    ramps: list[Ramp] = [np.ones(side, dtype=np.float32) for _ in starts]
    for index, (start, following) in enumerate(pairwise(starts)):
        shared = max(0, start + side - following)
        rise = (np.arange(shared, dtype=np.float32) + 0.5) / max(1, shared)
        ramps[index][side - shared :] *= 1 - rise
        ramps[index + 1][:shared] *= rise
    # where only two overlap, theirs is one already; even spreading can make three meet
    total: Ramp = np.zeros(starts[-1] + side, dtype=np.float32)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + side] += ramp
    return [ramp / total[start : start + side] for start, ramp in zip(starts, ramps, strict=True)]


def _add_up(tiles: Sequence[Pixels], lefts: Sequence[int], ramps: Sequence[Ramp]) -> NDArray[np.float32]:
    height, width, channels = tiles[0].shape
    strip: NDArray[np.float32] = np.zeros((height, lefts[-1] + width, channels), dtype=np.float32)
    for tile, left, ramp in zip(tiles, lefts, ramps, strict=True):
        strip[:, left : left + width] += tile * ramp[:, None]
    return strip
