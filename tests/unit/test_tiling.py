"""Tiles: any picture can be cut and joined again, and what differs between tiles shows no seam."""

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.gpu.engine import Pixels
from worker.gpu.enlarging.tiling import Mosaic, Tiles, cut


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def repeated(picture: Pixels, scale: int) -> Pixels:
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def joined(tiles: Tiles, enlarged: Sequence[Pixels], scale: int) -> Pixels:
    mosaic = Mosaic(tiles, scale)
    for tile in enlarged:
        mosaic.add(tile)
    return mosaic.pixels


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    side=st.integers(2, 40),
    share=st.floats(0, 0.95),
    scale=st.integers(1, 3),
)
def test_any_picture_comes_out_of_its_tiles_whole(
    height: int, width: int, side: int, share: float, scale: int
) -> None:
    picture = noise(height, width)

    tiles = cut(picture, side, int(side * share))

    enlarged = [repeated(piece, scale) for piece in tiles.pieces]
    assert {piece.shape for piece in tiles.pieces} == {(min(side, height), min(side, width), 3)}
    assert np.array_equal(joined(tiles, enlarged, scale), repeated(picture, scale))


@settings(deadline=None, max_examples=60)
@given(length=st.integers(1, 400), side=st.integers(2, 60), share=st.floats(0, 0.9))
def test_neighbours_share_at_least_the_overlap(length: int, side: int, share: float) -> None:
    overlap = int(side * share)

    lefts = cut(noise(4, length), side, overlap).lefts

    assert lefts[0] == 0
    assert lefts[-1] + min(side, length) == length
    assert all(0 < after - before <= side - overlap for before, after in pairwise(lefts))


def test_a_picture_no_larger_than_a_tile_is_one_tile_of_its_own_size() -> None:
    tiles = cut(noise(30, 64), 64, 16)

    assert [piece.shape for piece in tiles.pieces] == [(30, 64, 3)]


def test_tiles_are_as_few_as_cover_the_picture() -> None:
    assert len(cut(noise(112, 64), 64, 16).pieces) == 2
    assert len(cut(noise(113, 160), 64, 16).pieces) == 3 * 3


@pytest.mark.parametrize(("width", "overlap"), [(112, 16), (113, 16), (300, 8), (200, 48)])
def test_tiles_of_different_brightness_fade_into_each_other(width: int, overlap: int) -> None:
    tiles = cut(np.zeros((64, width, 3), dtype=np.uint8), 64, overlap)
    bright_and_dark = [np.full_like(piece, 60 * (index % 2)) for index, piece in enumerate(tiles.pieces)]

    whole = joined(tiles, bright_and_dark, 1).astype(int)

    steepest = np.abs(np.diff(whole, axis=1)).max()
    assert whole.max() >= 30
    assert steepest <= 60 / overlap * 2 + 1  # a bare seam would be a step of 60


def test_pixels_that_only_one_tile_has_are_that_tiles() -> None:
    tiles = cut(np.zeros((64, 112, 3), dtype=np.uint8), 64, 16)

    whole = joined(tiles, [np.full_like(piece, 10 + 100 * i) for i, piece in enumerate(tiles.pieces)], 1)

    assert (whole[:, :48] == 10).all()
    assert (whole[:, 64:] == 110).all()


def test_a_large_picture_is_joined_in_little_more_memory_than_its_own() -> None:
    tiles = cut(np.zeros((1024, 1024, 3), dtype=np.uint8), 64, 16)
    enlarged = repeated(tiles.pieces[0], 2)

    tracemalloc.start()
    whole = joined(tiles, [enlarged] * len(tiles.pieces), 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak <= whole.nbytes + 8 * enlarged.nbytes  # in floating point too


def test_cutting_and_joining_leave_the_pixels_they_were_given() -> None:
    picture = noise(100, 100)
    original = picture.copy()
    tiles = cut(picture, 40, 10)
    enlarged = [piece.copy() for piece in tiles.pieces]

    joined(tiles, enlarged, 1)

    assert np.array_equal(picture, original)
    assert all(np.array_equal(*pair) for pair in zip(enlarged, tiles.pieces, strict=True))


@pytest.mark.parametrize("overlap", [-1, 64, 100])
def test_an_overlap_that_no_tile_can_have_is_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        cut(noise(100, 100), 64, overlap)


def test_a_tile_of_another_size_is_refused() -> None:
    tiles = cut(noise(64, 112), 64, 16)

    with pytest.raises(ValueError, match="tiles of 128x128 px"):
        joined(tiles, tiles.pieces, 2)


def test_tiles_that_differ_leave_no_step_where_four_of_them_meet() -> None:
    tiles = cut(np.zeros((112, 112, 3), dtype=np.uint8), 64, 16)

    whole = joined(tiles, [np.full_like(tiles.pieces[0], 60 * (i % 3 % 2)) for i in range(4)], 1).astype(int)

    assert whole.max() == 60
    for axis in (0, 1):
        assert np.abs(np.diff(whole, axis=axis)).max() <= 60 / 16 + 1
