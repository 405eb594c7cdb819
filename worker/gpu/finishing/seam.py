"""Puts what inpainting made into the picture that it was made for. A function of pixels alone."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from worker.gpu.engine import Pixels

PAINTED_FROM = 128
"""Of 255: where a mask is at least this, it is painted. The stock pipelines cut there too."""
EDGE = 4
"""Pixels inside the hole over which what was made fades in: enough that no line shows."""


def joined(original: Pixels, made: Pixels, mask: NDArray[np.uint8]) -> Pixels:
    """`made` where `mask` (height, width) says so, `original` to the last bit where it does not."""
    hole = mask >= PAINTED_FROM
    if hole.all():  # there is no border to measure from
        return made
    depth = ndimage.distance_transform_cdt(hole)[hole]  # 1 for those that touch what is kept
    share = np.minimum(depth / np.float32(EDGE + 1), 1)[:, None]
    whole = original.copy()
    before = original[hole].astype(np.float32)
    whole[hole] = (before + share * (made[hole] - before)).round().astype(np.uint8)
    return whole
