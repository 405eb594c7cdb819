"""Measures by geometry how far a picture is outlined or framed, and takes either off for the judge.

Not for shapes and colours (judge.py), and no neural network: it knows nothing of the model, nor which colours
the lines have. Both scores go from 0 to 1; pictures are square, from 64 to 512 px.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Mask = NDArray[np.bool_]
Pixels = NDArray[np.float64]

OUTLINED = 0.7
"""From this score on, a picture counts as outlined: most of every edge has a line of its own colour."""

FRAMED = 0.65
"""From this score on, a picture counts as framed."""

THIRD_COLOUR = 55.0
"""How far (of 441) a line's colour must be from all mixtures of object and background: edges are mixtures."""

APART = 40.0
"""How far an object's colour must be from the background's."""

EDGE_REACH = 0.03
"""How far from an object's edge its line may lie, as a share of the side."""

FRAME_RIM, FRAME_END, BAND = 4, 10, 4
"""In pixels: how deep a frame surely goes, how deep it hardly does, and how wide a look at the ground is."""


def has_outline(picture: Image.Image) -> float:
    """The share of the objects' edges that has a line in a colour which is no mixture of theirs."""
    pixels = _pixels(without_frame(picture))
    thing = _things(pixels)
    edge = thing & ~ndimage.binary_erosion(thing, border_value=1)
    if not edge.any():
        return 0.0
    strange = _strangeness(pixels, thing)
    reach = max(1, round(EDGE_REACH * len(pixels)))
    near = ndimage.maximum_filter(strange, size=2 * reach + 1)
    return float((near[edge] > THIRD_COLOUR).mean())


def has_frame(picture: Image.Image) -> float:
    """The share of the picture's rim that has one colour, less the share that has it further inside."""
    pixels = _pixels(picture)
    depth = _depth(len(pixels))
    rim, inside = depth < FRAME_RIM, (depth >= FRAME_END) & (depth < FRAME_END + BAND)
    alike = _distance(pixels, np.median(pixels[rim], axis=0)) < THIRD_COLOUR
    return max(0.0, float(alike[rim].mean() - alike[inside].mean()))


def without_outline(picture: Image.Image) -> Image.Image:
    """The picture with its outlines in the colour of the ground, so that a judge sees bare objects."""
    pixels = _pixels(picture)
    thing = _things(pixels)
    if not thing.any():
        return picture
    paint = _paint(pixels, thing)
    ground = _ground(pixels, start=0)
    line = _distance(pixels, paint) > np.minimum(
        _strangeness(pixels, thing) * 2, _distance(ground, paint) / 2
    )
    plain = np.where((thing & ~line)[:, :, None], paint, ground)
    return Image.fromarray(plain.astype(np.uint8))


def without_frame(picture: Image.Image) -> Image.Image:
    """The picture with its frame, if there is one, in the colour of the ground."""
    if has_frame(picture) < FRAMED / 2:
        return picture
    pixels = _pixels(picture)
    outside = _depth(len(pixels)) < FRAME_END
    plain = np.where(outside[:, :, None], _ground(pixels, start=FRAME_END), pixels)
    return Image.fromarray(plain.astype(np.uint8))


def _pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB")).astype(np.float64)


def _depth(side: int) -> NDArray[np.int64]:
    """How far every pixel is from the nearest edge of the picture."""
    along = np.minimum(np.arange(side), np.arange(side)[::-1])
    return np.asarray(np.minimum(along[:, None], along))


def _near_corner(side: int) -> Mask:
    along = np.minimum(np.arange(side), np.arange(side)[::-1])
    return np.asarray(np.maximum(along[:, None], along) < side / 4)


def _distance(pixels: Pixels, colour: Pixels) -> Pixels:
    distance: Pixels = np.sqrt(((pixels - colour) ** 2).sum(-1))
    return distance


def _ground(pixels: Pixels, *, start: int) -> Pixels:
    """The background's colour, from `start` pixels inside the picture's edge on: near the four corners, for
    no single object reaches all of them."""
    depth = _depth(len(pixels))
    band = (depth >= start) & (depth < start + BAND) & _near_corner(len(pixels))
    colour: Pixels = np.median(pixels[band], axis=0)
    return colour


def _things(pixels: Pixels) -> Mask:
    """Where there is anything but background, be it object or outline; specks left out."""
    mask = ndimage.binary_opening(_distance(pixels, _ground(pixels, start=0)) > APART)
    labels, count = ndimage.label(mask)
    if not count:
        return np.zeros_like(mask)
    areas = ndimage.sum(mask, labels, range(1, count + 1))
    return np.asarray(np.isin(labels, [i + 1 for i, area in enumerate(areas) if area > 0.1 * max(areas)]))


def _paint(pixels: Pixels, thing: Mask) -> Pixels:
    """The objects' own colour: that of the pixels farthest from any edge."""
    depth = ndimage.distance_transform_edt(thing)
    colour: Pixels = np.median(pixels[depth > 0.6 * depth.max()], axis=0)
    return colour


def _strangeness(pixels: Pixels, thing: Mask) -> Pixels:
    """How far every pixel is from all mixtures of the object's and the background's colours."""
    ground, paint = _ground(pixels, start=0), _paint(pixels, thing)
    way = paint - ground
    share = ((pixels - ground) @ way / max(1e-9, float(way @ way))).clip(0, 1)
    return _distance(pixels, ground + share[:, :, None] * way)
