"""Covers over flagged pictures: what is beneath is gone, at every size, and the notice can be read."""

from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deploy.demo.drawing import COLOURS, Scene, draw
from deploy.demo.judge import judge
from shared.safety import DEFAULT_SAFETY_CHECKER_TYPE, SAFETY_CHECKER_TYPES
from worker.gpu.engine.rendering import Pixels
from worker.gpu.finishing.effects import cover

SIZES = [(64, 64), (64, 160), (512, 512), (1024, 384), (4096, 640)]
NOTICE = "sensitive_content_text"
CORNERED_SHAPES = ("star", "cross", "heart", "triangle", "diamond", "ring", "square")
"""All but the circle, for any blot looks like one."""


def a_picture(width: int, height: int, shape: str = "star") -> Pixels:
    scene = Scene(shape=shape, colour="red", background="white", size="large")
    return np.array(draw(scene, Random(1), side=512).resize((width, height)))


def white(covered: Pixels) -> NDArray[np.bool_]:
    return np.asarray(covered.min(axis=2) > 240)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("kind", SAFETY_CHECKER_TYPES)
def test_a_cover_keeps_the_size_and_leaves_the_original_alone(kind: str, size: tuple[int, int]) -> None:
    picture = a_picture(*size)
    original = picture.copy()

    covered = cover(picture, kind)

    assert (covered.shape, covered.dtype) == (picture.shape, picture.dtype)
    assert not np.array_equal(covered, picture)
    assert np.array_equal(picture, original)


@pytest.mark.parametrize("kind", SAFETY_CHECKER_TYPES)
def test_a_picture_that_may_not_be_written_to_can_be_covered(kind: str) -> None:
    picture = a_picture(64, 64)
    picture.flags.writeable = False

    assert cover(picture, kind).flags.writeable


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("kind", SAFETY_CHECKER_TYPES)
def test_a_chequered_picture_and_a_gray_one_look_the_same_beneath_a_cover(
    kind: str, size: tuple[int, int]
) -> None:
    width, height = size
    rows, columns = np.indices((height, width)) // (max(size) // 24)
    light = (rows + columns)[..., None] % 2 * [1, 1, 1]

    chequered, gray = (38 + 180 * light).astype(np.uint8), np.full((height, width, 3), 128, dtype=np.uint8)

    assert np.abs(cover(chequered, kind).astype(int) - cover(gray, kind)).max() <= 30


@pytest.mark.parametrize("kind", SAFETY_CHECKER_TYPES)
def test_the_shape_beneath_a_cover_is_not_recognised(kind: str) -> None:
    asked = [(shape, colour) for shape in CORNERED_SHAPES for colour in ("red", "green", "yellow")]
    pictures = [
        draw(Scene(shape=shape, colour=colour, background="blue"), Random(index), side=256)
        for index, (shape, colour) in enumerate(asked)
    ]

    covered = [judge(Image.fromarray(cover(np.array(picture), kind))).shape for picture in pictures]

    wanted = [shape for shape, _ in asked]
    assert [judge(picture).shape for picture in pictures] == wanted
    assert sum(seen == shape for seen, shape in zip(covered, wanted, strict=True)) <= len(asked) / 4


def test_a_mosaic_has_no_more_than_six_patches_along_its_longer_side() -> None:
    covered = cover(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8), "pixelate")

    assert len(np.unique(covered.reshape(-1, 3), axis=0)) <= 6 * 4


def test_black_is_black() -> None:
    assert not cover(a_picture(100, 60), "black").any()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_notice_stands_in_the_middle_as_large_as_the_picture_allows(size: tuple[int, int]) -> None:
    width, height = size
    covered = cover(np.full((height, width, 3), 255, dtype=np.uint8), NOTICE)

    rows, columns = np.nonzero(white(covered))

    assert abs((columns.min() + columns.max()) / 2 - width / 2) <= 0.05 * width
    assert abs((rows.min() + rows.max()) / 2 - height / 2) <= 0.08 * height
    assert 0.6 * width <= np.ptp(columns) <= 0.85 * width or np.ptp(rows) >= 0.15 * height
    assert columns.min() > 0
    assert columns.max() < width - 1
    assert np.ptp(rows) >= 10


@pytest.mark.parametrize("background", COLOURS)
def test_the_notice_stands_out_from_every_colour(background: str) -> None:
    picture = np.full((128, 128, 3), COLOURS[background], dtype=np.uint8)

    covered = cover(picture, NOTICE)

    assert covered[:10].max() <= 110
    assert 0.02 <= white(covered).mean() <= 0.3


def test_the_same_picture_is_covered_in_the_same_way() -> None:
    for kind in SAFETY_CHECKER_TYPES:
        assert cover(a_picture(96, 96), kind).tobytes() == cover(a_picture(96, 96), kind).tobytes()


def test_a_cover_that_does_not_exist_is_refused_with_the_names_of_those_that_do() -> None:
    with pytest.raises(ValueError, match="sensitive_content_text, blur, pixelate, black"):
        cover(a_picture(64, 64), "mirror")


def test_the_default_cover_is_one_of_them() -> None:
    assert DEFAULT_SAFETY_CHECKER_TYPE in SAFETY_CHECKER_TYPES
