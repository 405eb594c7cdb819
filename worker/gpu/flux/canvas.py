"""What is really painted for a request's size: whole patches, of which the picture is the middle."""

import math
from dataclasses import dataclass

import numpy as np

from worker.gpu.engine import Pixels


@dataclass(frozen=True)
class Canvas:
    """Sizes in pixels; `patch` is the side of one patch."""

    picture_height: int
    picture_width: int
    patch: int

    @property
    def height(self) -> int:
        return math.ceil(self.picture_height / self.patch) * self.patch

    @property
    def width(self) -> int:
        return math.ceil(self.picture_width / self.patch) * self.patch

    @property
    def grid(self) -> tuple[int, int]:
        """How many patches it is high and wide."""
        return self.height // self.patch, self.width // self.patch

    @property
    def _top(self) -> int:
        return (self.height - self.picture_height) // 2

    @property
    def _left(self) -> int:
        return (self.width - self.picture_width) // 2

    def cropped(self, painted: Pixels) -> Pixels:
        rows = slice(self._top, self._top + self.picture_height)
        return painted[rows, self._left : self._left + self.picture_width]

    def stretched(self, picture: Pixels) -> Pixels:
        """`picture` in the middle, its edges repeated to the borders."""
        bottom = self.height - self.picture_height - self._top
        right = self.width - self.picture_width - self._left
        return np.pad(picture, ((self._top, bottom), (self._left, right), (0, 0)), mode="edge")
