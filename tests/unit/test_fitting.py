"""Pictures of any size are brought to the size that is asked for, and nothing in them is squashed."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from worker.gpu.fitting import fitted


def circle(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """White on black, in the middle."""
    image = Image.new(mode, (width, height))
    radius = min(width, height) / 4
    middle = (width / 2, height / 2)
    ImageDraw.Draw(image).ellipse(
        (*(at - radius for at in middle), *(at + radius for at in middle)), fill="white"
    )
    return image


@pytest.mark.parametrize(("width", "height"), [(400, 200), (200, 400), (37, 61), (1000, 990)])
@pytest.mark.parametrize(("wanted_width", "wanted_height"), [(128, 128), (192, 64), (64, 160)])
def test_a_circle_stays_a_circle_in_the_middle(
    width: int, height: int, wanted_width: int, wanted_height: int
) -> None:
    made = fitted(circle(width, height), wanted_width, wanted_height)

    assert made.size == (wanted_width, wanted_height)
    white = np.asarray(made.convert("L")) > 127
    scale = max(wanted_width / width, wanted_height / height)
    radius = min(width, height) / 4 * scale
    rows, columns = np.ogrid[:wanted_height, :wanted_width]
    away = np.hypot(rows + 0.5 - wanted_height / 2, columns + 0.5 - wanted_width / 2)
    assert white[away < radius - 1.5 * max(scale, 1)].all()
    assert not white[away > radius + 1.5 * max(scale, 1)].any()


def test_a_mask_goes_the_way_of_its_picture() -> None:
    picture, mask = circle(330, 170), circle(330, 170, mode="L")

    one, other = fitted(picture, 96, 64), fitted(mask, 96, 64)

    assert (np.asarray(one)[..., 0] == np.asarray(other)).all()


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)

    assert (np.asarray(fitted(Image.fromarray(noise), 64, 48)) == noise).all()
