"""Measures by geometry whether a picture has a frame or a floor, and takes both off for the judge.

Not for shapes and colours (judge.py), and no neural network: it knows nothing of the model, nor which
colour a frame or a floor has. Both scores go from 0 to 1. Pictures are square, from 64 to 512 px; at 64 the
largest objects and several at once may pass for a floor.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mask = NDArray[np.bool_]
Pixels = NDArray[np.float64]

FRAMED = FLOORED = 0.65
"""From this score on, a picture counts as framed, or as one with a floor."""

ALIKE = 55.0
"""How far (of 441) two colours may be from each other and count as the same."""

FRAME_RIM, FRAME_END = 4, 10
"""In pixels from the picture's edge: how deep a frame surely goes, and where it has surely ended."""

FLOOR_BAND, FLOOR_END = 20, 28
"""In pixels from the bottom: how high a floor surely goes, and where it has surely ended."""

BAND = 5
"""How wide a look is taken at what lies beside, in pixels."""


def has_frame(picture: Image.Image) -> float:
    """The share of the picture's rim that has one colour, less the share that has it further inside.

    The floor's height is left out, for the two may have the same colour.
    """
    pixels = _pixels(picture)
    depth, above = _depth(len(pixels)), _height(len(pixels)) >= FLOOR_END
    inside = above & (depth >= FRAME_END) & (depth < FRAME_END + BAND)
    return _step(pixels, above & (depth < FRAME_RIM), inside)


def has_floor(picture: Image.Image) -> float:
    """The share of the lowest rows that has one colour, less the share that has it further up.

    Only what lies to the left and the right counts: in the middle there are objects.
    """
    pixels = _pixels(picture)
    side = len(pixels)
    depth, height = _depth(side), _height(side)
    beside = np.minimum(np.arange(side), np.arange(side)[::-1])[None, :] < side / 4
    within = beside & (depth >= FRAME_END) & (height < FLOOR_BAND)
    over = beside & (depth >= FRAME_END) & (height >= FLOOR_END) & (height < FLOOR_END + BAND)
    return _step(pixels, within, over)


def bare(picture: Image.Image) -> Image.Image:
    """The picture with its frame and its floor, if it has any, in the colour of the ground."""
    pixels = _pixels(picture)
    depth, height = _depth(len(pixels)), _height(len(pixels))
    covered = np.zeros_like(depth, dtype=bool)
    if has_frame(picture) >= FRAMED / 2:
        covered |= depth < FRAME_END
    if has_floor(picture) >= FLOORED / 2:
        covered |= height < FLOOR_END
    around = (depth >= FRAME_END) & (depth < FRAME_END + BAND) & (height >= FLOOR_END)
    ground = np.median(pixels[around], axis=0)
    return Image.fromarray(np.where(covered[:, :, None], ground, pixels).astype(np.uint8))


def _pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB")).astype(np.float64)


def _depth(side: int) -> NDArray[np.int64]:
    """How far every pixel is from the nearest edge of the picture."""
    along = np.minimum(np.arange(side), np.arange(side)[::-1])
    return np.asarray(np.minimum(along[:, None], along))


def _height(side: int) -> NDArray[np.int64]:
    """How far every pixel is from the bottom."""
    return np.asarray(np.broadcast_to(np.arange(side)[::-1, None], (side, side)))


def _step(pixels: Pixels, here: Mask, there: Mask) -> float:
    """How much more of one place than of the other has the commonest colour of the one."""
    colour = np.median(pixels[here], axis=0)
    alike = np.sqrt(((pixels - colour) ** 2).sum(2)) < ALIKE
    return max(0.0, float(alike[here].mean() - alike[there].mean()))
