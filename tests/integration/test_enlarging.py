"""Pictures enlarged one to four times: their sizes, their memory, and who else gets a turn meanwhile."""

import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import Cancelled
from tests.support import tiny
from tests.support.painting import painted, request, running_engine
from tests.support.tiny_finishing import DEMO_UPSCALER, drawing, save_swin2sr
from tests.support.tiny_upscalers import Repeating, run
from tests.support.waiting import wait_until
from worker.gpu.engine import Engine, Pixels
from worker.gpu.enlarging import EnlargeRequest, Upscaler, enlarge_picture, load_upscaler
from worker.gpu.enlarging.program import AT_ONCE
from worker.gpu.enlarging.resizing import resize_to
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.painting import Kit

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return load_upscaler("demo", str(DEMO_UPSCALER), CPU, torch.float32)


def enlarged(upscaler: Upscaler, *requests: EnlargeRequest) -> list[Pixels]:
    with running_engine() as engine:
        rendering = engine.submit([partial(enlarge_picture, upscaler, each) for each in requests])
        return [picture.develop() for picture in rendering.result()]


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("scale", [1, 1.3, 2, 2.5, 3, 3.99, 4])
@pytest.mark.parametrize("size", [(61, 37), (1, 1), (33, 70)], ids=str)
def test_a_picture_has_the_size_that_was_asked_for(size: tuple[int, int], scale: float, factor: int) -> None:
    width, height = size

    (picture,) = enlarged(Repeating(factor), EnlargeRequest(noise(height, width), scale))

    assert picture.shape == (round(height * scale), round(width * scale), 3)
    assert picture.dtype == np.uint8


def test_four_times_is_twice_times_two(upscaler: Upscaler) -> None:
    picture = np.array(drawing(0, 64))
    (twice,) = enlarged(upscaler, EnlargeRequest(picture, 2))

    (four_times,) = enlarged(upscaler, EnlargeRequest(picture, 4))

    assert np.array_equal(four_times, enlarged(upscaler, EnlargeRequest(twice, 2))[0])


@pytest.mark.parametrize("scale", [1, 1.5])
def test_what_the_upscaler_makes_too_large_is_shrunk_by_lanczos(upscaler: Upscaler, scale: float) -> None:
    picture = np.array(drawing(1, 64))
    (twice,) = enlarged(upscaler, EnlargeRequest(picture, 2))

    (shrunk,) = enlarged(upscaler, EnlargeRequest(picture, scale))

    assert np.array_equal(shrunk, resize_to(twice, (round(64 * scale), round(64 * scale))))


def test_a_scale_of_one_cleans_the_picture(upscaler: Upscaler) -> None:
    original = np.array(drawing(2, 96))
    speckled = (
        (original + np.random.default_rng(0).normal(0, 12, original.shape)).clip(0, 255).astype(np.uint8)
    )

    (cleaned,) = enlarged(upscaler, EnlargeRequest(speckled, 1))

    assert (
        np.square(cleaned.astype(float) - original).mean()
        < np.square(speckled.astype(float) - original).mean()
    )


def test_an_even_picture_of_many_tiles_stays_even(upscaler: Upscaler) -> None:
    (picture,) = enlarged(upscaler, EnlargeRequest(np.full((40, 600, 3), (220, 30, 30), dtype=np.uint8), 2))

    assert np.abs(picture.astype(int) - (220, 30, 30)).max() <= 2


class Remembering(Repeating):
    """Counts the tiles that it has made and somebody still holds."""

    def __init__(self, scale: int) -> None:
        super().__init__(scale)
        self.held = self.most_held = self.made = 0

    def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
        made = super().enlarge(tiles)
        for tile in made:
            weakref.finalize(tile, self._forget)
        self.made += len(made)
        self.held += len(made)
        self.most_held = max(self.held, self.most_held)
        return made

    def _forget(self) -> None:
        self.held -= 1


@pytest.mark.parametrize(("factor", "scale"), [(2, 4), (4, 3), (4, 1)])
def test_only_a_few_tiles_of_a_large_picture_are_held_at_a_time(factor: int, scale: float) -> None:
    upscaler = Remembering(factor)

    enlarged(upscaler, EnlargeRequest(noise(512, 512), scale))

    assert upscaler.made > 400
    assert upscaler.most_held <= 2 * AT_ONCE


def test_progress_is_told_by_the_tiles_and_ends_at_one() -> None:
    told: list[float] = []

    run(enlarge_picture(Repeating(2), EnlargeRequest(noise(200, 200), 4), told.append))

    assert len(told) > 30
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert told[len(told) // 4] < 0.5


class Gated(Repeating):
    """Goes on for as long as it is let; its pictures are endless."""

    def __init__(self) -> None:
        super().__init__(2)
        self.made = 0

    def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
        self.made += len(tiles)
        return super().enlarge(tiles)


def begun(engine: Engine, upscaler: Gated):  # type: ignore[no-untyped-def]
    picture = np.zeros((30_000, 4_000, 3), dtype=np.uint8)
    rendering = engine.submit([partial(enlarge_picture, upscaler, EnlargeRequest(picture, 1))])
    wait_until(lambda: upscaler.made)
    return rendering


def test_other_pictures_are_painted_between_the_tiles() -> None:
    kit = Kit.plain(from_pipeline("tiny", tiny.stable_diffusion()))
    with running_engine() as engine:
        large = begun(engine, Gated())

        painted(engine, kit, request())

        assert not large.is_over
        large.cancel()


def test_a_cancelled_picture_ends_between_two_tiles() -> None:
    upscaler = Gated()
    with running_engine() as engine:
        large = begun(engine, upscaler)

        large.cancel()

        with pytest.raises(Cancelled):
            large.result()
    assert upscaler.made < 10_000


def test_tiles_of_several_pictures_share_forwards() -> None:
    shared: list[int] = []

    class Watched(Repeating):
        def enlarge(self, tiles: Sequence[Pixels]) -> list[Pixels]:
            shared.append(len({int(tile[0, 0, 0]) for tile in tiles}))
            return super().enlarge(tiles)

    pictures = [np.full((100, 100, 3), level, dtype=np.uint8) for level in (10, 20, 30)]

    finished = enlarged(Watched(2), *(EnlargeRequest(picture, 2) for picture in pictures))

    assert max(shared) == 3
    assert [int(picture.mean()) for picture in finished] == [10, 20, 30]


def test_a_deterministic_picture_is_the_same_in_company(tmp_path: Path) -> None:
    upscaler = load_upscaler("tiny", str(save_swin2sr(tmp_path / "upscaler", 2)), CPU, torch.float32)
    wanted = EnlargeRequest(np.array(drawing(3, 80)), 3, deterministic=True)
    (alone,) = enlarged(upscaler, wanted)

    together = enlarged(upscaler, wanted, EnlargeRequest(np.array(drawing(4, 80)), 3), wanted)

    assert np.array_equal(together[0], alone)
    assert np.array_equal(together[2], alone)
    assert all(ask.alone for ask in next(enlarge_picture(upscaler, wanted, lambda _: None)))
