"""What is really painted for a request's size: whole patches, of which the picture is the middle."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

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

    def stretched(self, picture: Pixels, device: torch.device) -> Tensor:
        """(1, 3, height, width), -1 to 1: `picture` in the middle, its edges repeated to the borders."""
        pixels = torch.tensor(picture, device=device).permute(2, 0, 1)[None].float() / 255 * 2 - 1
        right = self.width - self.picture_width - self._left
        bottom = self.height - self.picture_height - self._top
        return functional.pad(pixels, (self._left, right, self._top, bottom), mode="replicate")
