"""Takes faces out of pictures, upright and of one size, and puts them back; for slots' threads.

Matrices are 2 x 3, as OpenCV's: they map points (across, down) by a rotation, a scale and a shift.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.gpu.engine import Pixels

SIDE = 512
"""Of a face that is taken out, in pixels: what the networks that restore faces are made for."""
TEMPLATE = np.array(
    [(192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15)]
)
"""Where the landmarks lie in a face that is taken out: their mean in FFHQ, which these networks learnt from
(Karras et al., arXiv:1812.04948)."""
SOFT = 48
"""Pixels over which a face that is put back emerges, at each border."""
BAND_PIXELS = 1 << 20
"""Of the picture, that are worked on at a time."""
SHRUNK_FIRST = 0.7

Matrix = NDArray[np.float64]


def to_face(landmarks: NDArray[np.float64]) -> Matrix:
    """From the picture to the face: the rotation, scale and shift that bring the landmarks nearest to where
    they belong, by least squares."""
    across, down = landmarks.T
    zeros, ones = np.zeros(len(landmarks)), np.ones(len(landmarks))
    equations = np.concatenate(
        [np.stack([across, -down, ones, zeros], 1), np.stack([down, across, zeros, ones], 1)]
    )
    (cosine, sine, right, below), *_ = np.linalg.lstsq(equations, TEMPLATE.T.ravel())
    return np.array([[cosine, -sine, right], [sine, cosine, below]])


def take_out(picture: Pixels, matrix: Matrix) -> Pixels:
    """The face, `SIDE` pixels wide and high."""
    taken: Pixels = _warped(picture, matrix, (SIDE, SIDE), cv2.BORDER_REFLECT)
    return taken


def put_back(picture: Pixels, face: Pixels, matrix: Matrix, scale: tuple[float, float]) -> None:
    """Lays the face over its place in the picture, which is `scale` times as wide and high as the one that
    it was taken out of. Every pixel beyond the face's square stays as it was."""
    placement = _enlarged(_inverse(matrix), scale)
    left, top, right, bottom = _bounds(placement, picture)
    if left >= right:
        return
    rows = max(1, BAND_PIXELS // (right - left))
    for begin in range(top, bottom, rows):
        place = picture[begin : min(bottom, begin + rows), left:right]
        moved = placement - [[0, 0, left], [0, 0, begin]]
        size = (place.shape[1], place.shape[0])
        old = place.astype(np.float32)
        new = _warped(face, moved, size, cv2.BORDER_REPLICATE)
        cover = _warped(_COVER, moved, size, cv2.BORDER_CONSTANT)[..., None]
        place[:] = np.rint(old + cover * (new - old))


def _warped(image: NDArray[Any], matrix: Matrix, size: tuple[int, int], border: int) -> NDArray[Any]:
    """What is to become much smaller is shrunk first, for a warp alone would skip pixels."""
    height, width = image.shape[:2]
    factor = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if factor < SHRUNK_FIRST:
        small = max(1, round(width * factor)), max(1, round(height * factor))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        matrix = _from_smaller(matrix, (small[0] / width, small[1] / height))
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)


def _inverse(matrix: Matrix) -> Matrix:
    return np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]


def _enlarged(matrix: Matrix, scale: tuple[float, float]) -> Matrix:
    """Into a picture `scale` times as large. Whole numbers are the middles of pixels, not their corners."""
    shift = np.array([[0, 0, 0.5]])
    enlarged: Matrix = (matrix + shift) * np.array(scale)[:, None] - shift
    return enlarged


def _from_smaller(matrix: Matrix, scale: tuple[float, float]) -> Matrix:
    """Out of an image `scale` times as large."""
    turn = matrix[:, :2] / scale
    return np.column_stack([turn, matrix[:, 2] + turn.sum(1) / 2 - matrix[:, :2].sum(1) / 2])


def _bounds(placement: Matrix, picture: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what the face covers of the picture."""
    corners = np.array([(x, y, 1) for x in (-1, SIDE) for y in (-1, SIDE)]) @ placement.T
    height, width, _ = picture.shape
    left, top = np.floor(corners.min(0)).astype(int).clip(0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, (width, height))
    return left, top, right, bottom


def _cover() -> NDArray[np.float32]:
    """How much of the face shows at each of its pixels: all in the middle, nothing at the borders."""
    from_border = np.minimum(np.arange(SIDE), np.arange(SIDE)[::-1])
    rise = (from_border / SOFT).clip(0, 1).astype(np.float32)
    return np.outer(rise, rise)


_COVER = _cover()
