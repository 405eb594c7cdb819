"""Pictures brought to size in bands: the same as in one piece, in less memory."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from worker.gpu.engine import Pixels
from worker.gpu.enlarging import resizing
from worker.gpu.enlarging.resizing import resize_to


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_size_is_given_as_width_and_height() -> None:
    assert resize_to(noise(40, 80), (20, 10)).shape == (10, 20, 3)


SIZES = [(50, 33), (301, 199), (100, 80), (1, 1), (100, 3), (7, 400)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bands_make_the_picture_that_comes_of_one_piece(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = noise(80, 100)
    in_one = resize_to(picture, size)
    monkeypatch.setattr(resizing, "BAND_PIXELS", 700)

    in_bands = resize_to(picture, size)

    assert np.abs(in_bands.astype(int) - in_one).max() <= 1
    assert (in_bands == in_one).mean() >= 0.999


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_is_pillows_lanczos(size: tuple[int, int]) -> None:
    picture = 100 + noise(80, 100) // 8  # so that nothing overshoots and is clipped on the way

    resized = resize_to(picture, size)

    pillows = np.array(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    assert np.abs(resized.astype(int) - pillows).max() <= 1


def test_a_large_picture_is_resized_in_bands_that_bound_the_memory() -> None:
    picture = np.zeros((4096, 2048, 3), dtype=np.uint8)

    tracemalloc.start()
    resized = resize_to(picture, (4096, 6000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak <= resized.nbytes + 3 * 3 * resizing.BAND_PIXELS
