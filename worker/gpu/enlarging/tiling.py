"""Cuts pictures into overlapping tiles of one shape and joins the enlarged tiles without seams.

Pure arithmetic: what enlarges the tiles, and in batches of how many, is not known here.
"""

from dataclasses import dataclass

import numpy as np

from worker.gpu.engine import Pixels

Place = tuple[int, int]
"""The row and the column of a tile's first pixel."""


@dataclass(frozen=True)
class Tiles:
    """The pieces of one picture, row by row, and where each one lies."""

    pieces: tuple[Pixels, ...]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple((top, left) for top in self.tops for left in self.lefts)


class Mosaic:
    """The whole picture from its enlarged tiles, which are added in order; where two overlap, one fades into
    the other.

    Besides the result it holds the right-hand part of one tile, so a large picture costs no more than itself,
    and each tile little time.
    """

    def __init__(self, tiles: Tiles, scale: int) -> None:
        height, width, _ = tiles.pieces[0].shape
        self._shape = (height * scale, width * scale, 3)
        self._tops, self._lefts = (
            [start * scale for start in starts] for starts in (tiles.tops, tiles.lefts)
        )
        whole = (self._tops[-1] + self._shape[0], self._lefts[-1] + self._shape[1], 3)
        self.pixels: Pixels = np.empty(whole, dtype=np.uint8)
        self._added = 0
        self._carried = self._nothing()

    def add(self, tile: Pixels) -> None:
        """The next one, in the order of the pieces. Raises `ValueError` for a tile of another size."""
        if tile.shape != self._shape:
            raise ValueError(f"This picture is made of tiles of {self._shape[1]}x{self._shape[0]} px.")
        row, column = divmod(self._added, len(self._lefts))
        self._added += 1
        joined = _faded(self._carried, tile, axis=1)
        is_last = column + 1 == len(self._lefts)
        finished = self._shape[1] if is_last else self._lefts[column + 1] - self._lefts[column]
        self._carried = self._nothing() if is_last else joined[:, finished:].copy()
        self._lay(joined[:, :finished], row, self._lefts[column])

    def _lay(self, strip: Pixels, row: int, left: int) -> None:
        top = self._tops[row]
        covered = self._tops[row - 1] + self._shape[0] - top if row else 0
        place = self.pixels[top : top + len(strip), left : left + strip.shape[1]]
        place[:] = _faded(place[:covered], strip, axis=0)

    def _nothing(self) -> Pixels:
        return np.empty((self._shape[0], 0, 3), dtype=np.uint8)


def cut(picture: Pixels, side: int, overlap: int) -> Tiles:
    """Tiles of `side` pixels (or of the picture's own side, where that is smaller), each of which shares at
    least `overlap` pixels with its neighbours."""
    if not 0 <= overlap < side:
        raise ValueError("The overlap must be smaller than a tile.")
    height, width, _ = picture.shape
    tops, lefts = _starts(height, side, overlap), _starts(width, side, overlap)
    pieces = tuple(picture[top : top + side, left : left + side] for top in tops for left in lefts)
    return Tiles(pieces, tops, lefts)


def _starts(length: int, side: int, overlap: int) -> tuple[int, ...]:
    """As few tiles as cover the length, spread evenly."""
    if length <= side:
        return (0,)
    steps = -(-(length - side) // (side - overlap))
    return tuple(step * (length - side) // steps for step in range(steps + 1))


def _faded(before: Pixels, after: Pixels, axis: int) -> Pixels:
    """`after`, whose first pixels along the axis emerge out of `before`, as many as that has."""
    shared = before.shape[axis]
    first, rest = np.split(after, [shared], axis=axis)
    shape = [1, 1, 1]
    shape[axis] = shared
    rise = ((np.arange(shared, dtype=np.float32) + 0.5) / max(1, shared)).reshape(shape)
    old = before.astype(np.float32)
    old += rise * (first - old)
    return np.concatenate([np.rint(old, out=old).astype(np.uint8), rest], axis=axis)
