"""The names of ControlNet types, and the hints that OpenCV draws."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.hints import HINT_TYPES, READY_MADE_ONLY, TOOL_KINDS, Tool, can_make, no_tool
from tests.support.models import snapshot_of
from tests.support.tiny_hints import square
from worker.gpu.engine import Pixels
from worker.gpu.hints import classic

DOCUMENTED = (
    *(
        "canny",
        "depth",
        "hed",
        "mlsd",
        "normal",
        "openpose",
        "scribble",
        "segmentation",
        "inpaint",
        "softedge",
    ),
    *("lineart", "shuffle", "tile", "face_detector", "qrcode", "blur", "pose", "gray", "low_quality"),
    *("aesthetic-controlnet", "ip2p", "normalbae"),
)
"""Every `controlnet_type` that the protocol's documentation names."""

DRAWN: dict[str, Callable[[Pixels], Pixels]] = {
    "canny": classic.canny,
    "scribble": classic.scribble,
    "gray": classic.gray,
    "blur": classic.blur,
    "tile": classic.tile,
    "low_quality": classic.low_quality,
    "shuffle": lambda picture: classic.shuffle(picture, 1),
}


def noise(height: int = 96, width: int = 64) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def detail(picture: NDArray[np.uint8]) -> float:
    """How much neighbouring pixels differ."""
    return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())


def test_every_documented_type_is_known() -> None:
    assert set(HINT_TYPES) == set(DOCUMENTED)


def test_every_network_comes_with_a_kind_of_model() -> None:
    assert set(TOOL_KINDS) == set(Tool)
    everything = snapshot_of(depth_estimator="depth", segmenter="segmenter", annotators_folder="annotators")
    makeable = {kind for kind in HINT_TYPES if can_make(kind, everything)}
    assert makeable == set(HINT_TYPES) - READY_MADE_ONLY
    drawn = {kind for kind, tool in HINT_TYPES.items() if tool is None}
    assert {kind for kind in HINT_TYPES if can_make(kind, snapshot_of())} == drawn - READY_MADE_ONLY


def test_what_can_not_be_made_is_answered_with_what_to_send_instead() -> None:
    for kind, tool in HINT_TYPES.items():
        if tool or kind in READY_MADE_ONLY:
            assert "control_image" in no_tool(kind)
            assert (TOOL_KINDS[tool] if tool else kind) in no_tool(kind)


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("size", [(96, 64), (63, 129), (9, 7), (1, 1)], ids=str)
def test_a_hint_has_the_pictures_size_and_leaves_the_picture_alone(kind: str, size: tuple[int, int]) -> None:
    picture = noise(*size)
    before = picture.copy()

    hint = DRAWN[kind](picture)

    assert hint.shape == picture.shape
    assert hint.dtype == np.uint8
    assert np.array_equal(picture, before)


def test_canny_draws_the_outline_of_a_square_where_the_square_is() -> None:
    picture = square(left=40, top=24, width=48)

    ys, xs = np.nonzero(classic.canny(picture)[:, :, 0])

    assert set(np.unique(classic.canny(picture))) == {0, 255}
    box = (xs.min(), xs.max(), ys.min(), ys.max())
    assert np.abs(np.array(box) - (40, 87, 24, 71)).max() <= 1
    inside = (xs > 42) & (xs < 85) & (ys > 26) & (ys < 69)
    assert not inside.any()
    assert 150 <= len(xs) <= 250


def test_canny_sees_an_edge_between_colours_of_equal_brightness() -> None:
    picture = square(colours=((0, 130, 0), (255, 0, 0)))
    grays = classic.gray(picture)

    assert np.ptp(grays) <= 2
    assert classic.canny(picture).any()
    assert not classic.canny(grays).any()


def test_a_scribble_follows_the_edges_in_bold_strokes() -> None:
    picture = square()
    strokes, edges = classic.scribble(picture)[:, :, 0] > 0, classic.canny(picture)[:, :, 0] > 0

    assert strokes[edges].mean() >= 0.95
    assert 5 <= strokes.sum() / edges.sum() <= 20
    assert not strokes[40:56, 56:72].any()


def test_gray_keeps_brightness_and_drops_colour() -> None:
    hint = classic.gray(square())

    assert np.ptp(hint, axis=2).max() == 0
    assert len(np.unique(hint)) == 2


@pytest.mark.parametrize("kind", ["blur", "tile", "low_quality"])
def test_what_blurs_takes_details_and_leaves_the_colours(kind: str) -> None:
    picture = np.repeat(np.repeat(noise(48, 48), 2, axis=0), 2, axis=1)

    hint = DRAWN[kind](picture)

    assert detail(hint) < 0.7 * detail(picture)
    assert np.abs(hint.mean(axis=(0, 1)) - picture.mean(axis=(0, 1))).max() <= 3


def test_an_even_picture_stays_even_when_it_is_blurred() -> None:
    picture = np.full((40, 40, 3), (220, 30, 30), dtype=np.uint8)

    for kind in ("blur", "tile", "low_quality", "shuffle"):
        assert np.abs(DRAWN[kind](picture).astype(int) - picture).max() <= 3


def test_a_shuffle_repeats_by_its_seed() -> None:
    picture = square()

    assert np.array_equal(classic.shuffle(picture, 7), classic.shuffle(picture, 7))
    assert not np.array_equal(classic.shuffle(picture, 7), classic.shuffle(picture, 8))


def test_a_shuffle_moves_colours_and_makes_hardly_any_new_ones() -> None:
    picture = square()

    known = {tuple(colour) for colour in np.unique(picture.reshape(-1, 3), axis=0)}
    for seed in range(5):
        hint = classic.shuffle(picture, seed)
        kept = [tuple(pixel) in known for pixel in hint.reshape(-1, 3)]
        assert np.mean(kept) >= 0.9
        assert (hint != picture).any(axis=2).mean() >= 0.1


def test_a_hole_is_minus_one_where_the_mask_is_white() -> None:
    picture, mask = square(), np.zeros((128, 128), dtype=np.uint8)
    mask[10:20, 30:50] = 255
    mask[60:70, 30:50] = 127

    hint = classic.with_hole(picture, mask)

    assert hint.dtype == np.float32
    assert (hint[10:20, 30:50] == -1).all()
    assert (hint == -1).sum() == 10 * 20 * 3
    assert np.allclose(hint[60:70], picture[60:70] / 255)
