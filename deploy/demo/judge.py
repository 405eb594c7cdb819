"""Says by geometry what a picture shows: colours, shape, size, place and count.

Not a neural network and not lenient: a blurred or torn shape fits no outline and is none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from deploy.demo.drawing import COLOURS, PLACES, SHAPES, silhouette

Mask = NDArray[np.bool_]
Pixels = NDArray[np.float64]

GRID = 48
"""Side of the grid on which silhouettes are compared."""

MIN_OVERLAP = 0.70
"""Intersection over union with the best outline, below which an object has no shape."""

STRAY_SHARE = 0.02
"""Pieces smaller than this share of the largest are specks, not objects."""

OBJECT_SHARE = 0.3
"""Pieces at least this share of the largest count as objects of their own."""

SMALL_BELOW, LARGE_ABOVE = 0.19, 0.305
PLACED_BEYOND = 0.09
"""How far from the centre, as a share of the side, an object's middle must be to count as beside it."""

_PALETTE = np.array(list(COLOURS.values()), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the judge sees; None where nothing fits."""

    background: str
    colour: str | None = None
    shape: str | None = None
    size: str | None = None
    place: str | None = None
    count: int = 0
    overlap: float = 0.0


def judge(picture: Image.Image) -> Verdict:
    pixels = _pixels(picture)
    ground = _border_colour(pixels)
    background = _nearest_colour(ground)
    figure = _figure(pixels, ground)
    if figure is None:
        return Verdict(background=background)
    if not figure.is_object:
        return Verdict(background=background, colour=_nearest_colour(figure.paint))
    pieces = _objects(figure.mask)
    fits = [_best_fit(piece) for piece in pieces] if len(pieces) > 1 else [_best_fit(figure.mask)]
    shapes = {shape for shape, _ in fits}
    middle, radius = _box(figure.mask)
    return Verdict(
        background=background,
        colour=_nearest_colour(figure.paint),
        shape=shapes.pop() if len(shapes) == 1 else None,
        size="small" if radius < SMALL_BELOW else "large" if radius > LARGE_ABOVE else "medium",
        place=_place(middle),
        count=len(pieces),
        overlap=min(overlap for _, overlap in fits),
    )


def overlap(picture: Image.Image, drawn: Image.Image) -> float:
    """Intersection over union of what both show, whatever the colours; 0 if one of them shows nothing."""
    masks = []
    for each in (picture, drawn):
        pixels = _pixels(each)
        figure = _figure(pixels, _border_colour(pixels))
        if figure is None or not figure.is_object:
            return 0.0
        masks.append(figure.mask)
    return float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


@dataclass(frozen=True)
class _Figure:
    """What stands out from the ground."""

    paint: Pixels
    mask: Mask

    @property
    def is_object(self) -> bool:
        """Neither a speck nor nearly all of the picture."""
        return bool(0.005 < self.mask.mean() < 0.9)


def _figure(pixels: Pixels, ground: Pixels) -> _Figure | None:
    distance = np.sqrt(((pixels - ground) ** 2).sum(2))
    far = float(np.percentile(distance, 98.5))
    if far < 30:
        return None
    paint: Pixels = np.median(pixels[distance > 0.8 * far], axis=0)
    return _Figure(paint, _without_specks(distance > np.sqrt(((pixels - paint) ** 2).sum(2))))


def _pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB")).astype(np.float64)


def _border_colour(pixels: Pixels) -> Pixels:
    rim = max(2, len(pixels) // 32)
    edges = [pixels[:rim], pixels[-rim:], pixels[:, :rim], pixels[:, -rim:]]
    median: Pixels = np.median(np.concatenate([edge.reshape(-1, 3) for edge in edges]), axis=0)
    return median


def _nearest_colour(rgb: Pixels) -> str:
    return list(COLOURS)[int(((_PALETTE - rgb) ** 2).sum(1).argmin())]


def _without_specks(mask: Mask) -> Mask:
    """Every piece but the specks stays: stray blobs shall spoil the shape."""
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    areas = ndimage.sum(mask, labels, range(1, count + 1))
    kept = [index + 1 for index, area in enumerate(areas) if area > STRAY_SHARE * max(areas)]
    return np.asarray(np.isin(labels, kept))


def _objects(mask: Mask) -> list[Mask]:
    labels, count = ndimage.label(mask)
    areas = ndimage.sum(mask, labels, range(1, count + 1))
    return [labels == index + 1 for index, area in enumerate(areas) if area >= OBJECT_SHARE * max(areas)]


def _box(mask: Mask) -> tuple[tuple[float, float], float]:
    """Middle and half the larger side of the bounding box, as shares of the picture's side."""
    ys, xs = np.where(mask)
    height, width = mask.shape
    x0, x1, y0, y1 = xs.min() / width, (xs.max() + 1) / width, ys.min() / height, (ys.max() + 1) / height
    return (float(x0 + x1) / 2, float(y0 + y1) / 2), float(max(x1 - x0, y1 - y0)) / 2


def _place(middle: tuple[float, float]) -> str:
    way = tuple(0 if abs(at - 0.5) < PLACED_BEYOND else int(np.sign(at - 0.5)) for at in middle)
    return next(place for place, direction in PLACES.items() if direction == way)


def _normalised(mask: Mask) -> Mask:
    """The mask's bounding box, squared (a squeezed circle is no circle), on the common grid."""
    ys, xs = np.where(mask)
    cut = mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    side = max(cut.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut * 255
    return np.asarray(Image.fromarray(square).resize((GRID, GRID), Image.Resampling.BOX)) > 127


_OUTLINES = {shape: _normalised(np.asarray(silhouette(shape, side=480)) > 127) for shape in SHAPES}


def _best_fit(mask: Mask) -> tuple[str | None, float]:
    seen = _normalised(mask)
    overlaps = {shape: float((seen & form).sum() / (seen | form).sum()) for shape, form in _OUTLINES.items()}
    best = max(overlaps, key=lambda shape: overlaps[shape])
    return (best if overlaps[best] >= MIN_OVERLAP else None), overlaps[best]
