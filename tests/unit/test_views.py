"""A panorama's windows and the first pass of a large picture."""

import pytest

from worker.gpu.painting.denoising import first_pass_size
from worker.gpu.painting.views import views


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 128), (64, 131), (128, 512), (32, 70), (8, 9)])
def test_the_windows_of_a_panorama_cover_all_of_it(height: int, width: int) -> None:
    covered = {
        (y, x)
        for rows, columns in views(height, width, 64)
        for y in range(rows.start, rows.stop)
        for x in range(columns.start, columns.stop)
    }

    assert covered == {(y, x) for y in range(height) for x in range(width)}


def test_the_windows_of_a_panorama_are_all_of_one_shape() -> None:
    shapes = {(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in views(48, 200, 64)}

    assert shapes == {(48, 64)}


@pytest.mark.parametrize(
    ("size", "first"),
    [
        ((1024, 1024), (512, 512)),
        ((1024, 512), (728, 360)),
        ((512, 512), (512, 512)),
        ((256, 256), (256, 256)),
    ],
)
def test_the_first_pass_has_the_models_own_number_of_pixels_and_the_pictures_proportions(
    size: tuple[int, int], first: tuple[int, int]
) -> None:
    assert first_pass_size(*size, native=512, scale=8) == first
