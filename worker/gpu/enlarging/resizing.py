"""Brings pictures to an exact size without a network."""

import numpy as np
from PIL import Image

from worker.gpu.engine import Pixels

BAND_PIXELS = 1 << 22
"""Of the source or the result, whichever is larger, that are resized at a time."""
REACH = 3
"""Lanczos looks this many pixels far, in the coarser of the two pictures."""


def resize_to(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Of this width and height, by Lanczos.

    In bands, because Pillow's copy of a picture takes a third more than the picture: besides the two pictures
    it holds a few dozen MB.
    """
    width, height = size
    source_height, source_width, _ = picture.shape
    step = source_height / height
    reach = REACH * max(1.0, step) + 1
    rows = max(1, int(BAND_PIXELS / max(width, source_width * step)))
    resized: Pixels = np.empty((height, width, 3), dtype=np.uint8)
    for begin in range(0, height, rows):
        end = min(height, begin + rows)
        first, last = max(0, int(begin * step - reach)), min(source_height, int(end * step + reach) + 1)
        box = (0, begin * step - first, width, min(end * step, source_height) - first)
        # Pillow goes down or across first, as suits the band's size, and what it clips depends on that
        across = Image.fromarray(picture[first:last]).resize((width, last - first), Image.Resampling.LANCZOS)
        down = across.resize((width, end - begin), Image.Resampling.LANCZOS, box=box)
        resized[begin:end] = np.asarray(down)
    return resized
