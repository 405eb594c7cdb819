"""What a mask keeps is kept to the last bit, and what was made fades in inside the hole."""

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.gpu.finishing.seam import EDGE, joined

BLACK = np.zeros((64, 48, 3), np.uint8)
WHITE = np.full_like(BLACK, 255)


def mask(rows: slice, columns: slice, value: int = 255) -> NDArray[np.uint8]:
    whole = np.zeros(BLACK.shape[:2], np.uint8)
    whole[rows, columns] = value
    return whole


def test_nothing_outside_the_hole_changes_and_its_depth_is_all_new() -> None:
    hole = mask(slice(16, 48), slice(8, 40))

    whole = joined(BLACK, WHITE, hole)

    assert not whole[hole == 0].any()
    assert (whole[16 + EDGE : 48 - EDGE, 8 + EDGE : 40 - EDGE] == 255).all()


def test_what_was_made_fades_in_evenly_over_the_edge() -> None:
    whole = joined(BLACK, WHITE, mask(slice(16, 64), slice(0, 48)))

    across = whole[15 : 16 + EDGE + 1, 20, 0].astype(int)
    assert across[0] == 0
    assert across[-1] == 255
    assert np.abs(np.diff(across, 2)).max() <= 1


def test_a_hole_narrower_than_its_edges_still_shows_something() -> None:
    hole = mask(slice(30, 32), slice(0, 48))

    assert (joined(BLACK, WHITE, hole)[hole == 255] > 0).all()


@pytest.mark.parametrize(("value", "shown"), [(127, 0), (128, 255)])
def test_a_grey_mask_is_cut_in_the_middle(value: int, shown: int) -> None:
    whole = joined(BLACK, WHITE, mask(slice(16, 48), slice(8, 40), value))

    assert (whole[32, 24] == shown).all()


@pytest.mark.parametrize(("value", "kept"), [(255, WHITE), (0, BLACK)])
def test_a_mask_of_all_or_nothing_gives_either_picture(value: int, kept: NDArray[np.uint8]) -> None:
    assert (joined(BLACK, WHITE, mask(slice(None), slice(None), value)) == kept).all()
