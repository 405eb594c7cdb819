"""Hints that need no network: OpenCV's and numpy's. Pictures and hints are uint8 (height, width, 3), RGB.

Not for those of networks (depth.py, segmentation.py, annotators.py) nor for choosing among them (making.py).
"""

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from worker.gpu.engine import Pixels

CANNY_LOW, CANNY_HIGH = 100, 200
"""The thresholds of diffusers' examples, for gradients summed over a Sobel filter."""

BLUR_SHARE = 0.01
"""The Gaussian's standard deviation, as a share of the shorter side."""

SKETCH_BLUR, STROKE_BLUR, STROKE_LEVEL = 2.0, 3.0, 4
"""Pixels, pixels and a level of 255: details that a scribble leaves out, and how far its strokes spread."""

COARSENING = 4
"""How many times smaller a picture is made before it is made large again."""

JPEG_QUALITY = 25
FLOW_GRID = 4
"""A shuffle's flow is smooth between so many random values each way, on twice the picture's sides."""

INSIDE_MASK = -1.0
"""What diffusers' inpainting ControlNets take for a pixel that is to be painted anew."""


def canny(picture: Pixels) -> Pixels:
    """Edges one pixel wide, white on black (Canny 1986), also between colours of equal brightness."""
    return _in_three(cv2.Canny(np.ascontiguousarray(picture), CANNY_LOW, CANNY_HIGH))


def scribble(picture: Pixels) -> Pixels:
    """Bold white strokes along the main edges, as wide as those of HED's scribbles."""
    edges = cv2.Canny(cv2.GaussianBlur(picture, (0, 0), SKETCH_BLUR), CANNY_LOW // 2, CANNY_HIGH // 2)
    spread = cv2.GaussianBlur(edges, (0, 0), STROKE_BLUR)
    return _in_three(np.where(spread > STROKE_LEVEL, 255, 0))


def gray(picture: Pixels) -> Pixels:
    return _in_three(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def blur(picture: Pixels) -> Pixels:
    return _pixels(cv2.GaussianBlur(picture, (0, 0), max(0.5, BLUR_SHARE * min(picture.shape[:2]))))


def tile(picture: Pixels) -> Pixels:
    """Without its details: what a tile ControlNet makes up anew."""
    return _coarse(picture, cv2.INTER_CUBIC)


def low_quality(picture: Pixels) -> Pixels:
    """Coarse, and with the blocks of a strong JPEG compression."""
    _, encoded = cv2.imencode(
        ".jpg", _coarse(picture, cv2.INTER_LINEAR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    return _pixels(cv2.imdecode(encoded, cv2.IMREAD_COLOR))


def shuffle(picture: Pixels, seed: int) -> Pixels:
    """The picture's colours in other places, along a smooth random flow. Same seed, same hint."""
    rng = np.random.default_rng(seed)
    height, width = picture.shape[:2]
    x, y = _flow(rng, width, height) * (width - 1), _flow(rng, width, height) * (height - 1)
    return _pixels(cv2.remap(picture, x, y, cv2.INTER_LINEAR))


def with_hole(picture: Pixels, mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(height, width, 3) from 0 to 1, and `INSIDE_MASK` where the mask (height, width) is above 127."""
    marked = np.divide(picture, 255, dtype=np.float32)
    marked[mask > 127] = INSIDE_MASK
    return marked


def _coarse(picture: Pixels, interpolation: int) -> Pixels:
    height, width = picture.shape[:2]
    small = (max(1, width // COARSENING), max(1, height // COARSENING))
    reduced = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return _pixels(cv2.resize(reduced, (width, height), interpolation=interpolation))


def _flow(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """One coordinate of where each pixel comes from, as a share of the side. All shares from 0 to 1 occur."""
    grid = rng.random((FLOW_GRID, FLOW_GRID), dtype=np.float32)
    wide = cv2.resize(grid, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    left, top = width // 2, height // 2
    field = wide[top : top + height, left : left + width]
    shares = cv2.normalize(field, np.empty_like(field), 0, 1, cv2.NORM_MINMAX)
    return np.asarray(shares, dtype=np.float32)


def _in_three(levels: MatLike) -> Pixels:
    return _pixels(np.repeat(levels[:, :, None], 3, axis=2))


def _pixels(levels: MatLike | None) -> Pixels:
    return np.asarray(levels, dtype=np.uint8)
