"""Covers pictures that the safety checker flagged, so that nothing of them can be recognised.

All strengths are shares of the picture's size: 64 px and 4096 px are covered alike.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from shared.safety import SAFETY_CHECKER_TYPES
from worker.gpu.engine.rendering import Pixels

NOTICE = "Sensitive content"
NOTICE_SHARE = 0.8
"""How much of the picture's width the notice takes, unless its height forbids."""

LINE_SHARE = 0.25
"""The most of the picture's height that one line of the notice takes."""

BLUR_CELLS, NOTICE_CELLS, MOSAIC_CELLS = 5, 4, 6
"""Into how many patches of one mean colour the longer side is cut: all that is left of the picture."""

MELTED_SIDE = 16
"""The side of a patch, in pixels, while its borders are melted."""

DIMMED = 0.4
"""The brightness that is left behind the notice: white letters stand out from any picture."""


def cover(picture: Pixels, kind: str) -> Pixels:
    """A covered copy; `kind` is one of `SAFETY_CHECKER_TYPES`."""
    if kind not in _COVERS:
        raise ValueError(
            f"No way to cover a picture is called {kind!r}: use {', '.join(SAFETY_CHECKER_TYPES)}."
        )
    return np.array(_COVERS[kind](Image.fromarray(picture)))


def _patches(image: Image.Image, cells: int) -> Image.Image:
    """One pixel for each patch. What lies inside a patch is gone for good, not only hard to see."""
    longest = max(image.size)
    width, height = (max(1, round(cells * side / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def _blurred(image: Image.Image, cells: int = BLUR_CELLS) -> Image.Image:
    """The patches with their borders melted; done on a small picture, for there is no more in it."""
    patches = _patches(image, cells)
    enlarged = patches.resize(
        (MELTED_SIDE * patches.width, MELTED_SIDE * patches.height), Image.Resampling.NEAREST
    )
    melted = enlarged.filter(ImageFilter.GaussianBlur(MELTED_SIDE / 2))
    return melted.resize(image.size, Image.Resampling.BICUBIC)


def _pixelated(image: Image.Image) -> Image.Image:
    return _patches(image, MOSAIC_CELLS).resize(image.size, Image.Resampling.NEAREST)


def _blackened(image: Image.Image) -> Image.Image:
    return Image.new("RGB", image.size)


def _with_notice(image: Image.Image) -> Image.Image:
    covered = _blurred(image, NOTICE_CELLS).point(lambda level: level * DIMMED)
    text, font = _fitting_notice(image.size)
    middle = (image.width / 2, image.height / 2)
    ImageDraw.Draw(covered).text(middle, text, font=font, fill="white", anchor="mm", align="center")
    return covered


def _fitting_notice(size: tuple[int, int]) -> tuple[str, ImageFont.FreeTypeFont]:
    """In one line or in two, whichever allows the larger letters."""
    choices = [(_font_size(text, size), text) for text in (NOTICE, NOTICE.replace(" ", "\n"))]
    largest, text = max(choices)
    return text, _font(largest)


def _font_size(text: str, size: tuple[int, int]) -> int:
    width, height = size
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    trial = 100
    left, _, right, _ = pen.textbbox((0, 0), text, font=_font(trial), align="center")
    by_width = trial * width * NOTICE_SHARE / (right - left)
    return max(1, int(min(by_width, height * LINE_SHARE)))


def _font(size: int) -> ImageFont.FreeTypeFont:
    """The one that Pillow brings along: the same letters on every machine."""
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("This Pillow was built without FreeType: its letters can't be scaled.")
    return font


_COVERS: dict[str, Callable[[Image.Image], Image.Image]] = dict(
    zip(SAFETY_CHECKER_TYPES, (_with_notice, _blurred, _pixelated, _blackened), strict=True)
)
