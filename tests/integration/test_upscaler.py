"""Upscalers, from disk: the demo one measured on drawings that no training saw, others by their shapes."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared.errors import GenerationFailed
from tests.support.tiny_finishing import (
    DEMO_UPSCALER,
    drawing,
    drawings,
    save_safety_checker,
    save_swin2sr,
)
from tests.support.tiny_upscalers import enlarge, save_compact_esrgan
from worker.gpu.engine import Pixels
from worker.gpu.enlarging import Upscaler, load_upscaler
from worker.gpu.enlarging.resizing import resize_to
from worker.gpu.enlarging.tiling import Mosaic, cut

CPU = torch.device("cpu")
SMALLEST_GAIN = 2.5
"""In dB over Lanczos, on average: a little below what was measured (deploy/demo/README.md)."""


def load(source: Path, name: str = "demo-swin2sr") -> Upscaler:
    return load_upscaler(name, str(source), CPU, torch.float32)


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return load(DEMO_UPSCALER)


def psnr(picture: Pixels, wanted: Pixels) -> float:
    error = np.mean(np.square((picture.astype(float) - wanted) / 255))
    return float(-10 * np.log10(error))


def test_the_demo_upscaler_fits_into_the_repository() -> None:
    assert sum(file.stat().st_size for file in DEMO_UPSCALER.iterdir()) <= 300_000


@pytest.mark.parametrize(
    ("side", "count"), [(96, 24), (128, 24), (192, 16), (256, 16)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("reduction", [Image.Resampling.BOX, Image.Resampling.BICUBIC], ids=["area", "cubic"])
def test_drawings_made_small_come_back_better_than_by_lanczos(
    upscaler: Upscaler, side: int, count: int, reduction: Image.Resampling
) -> None:
    gains = []
    for index in range(count):
        original = drawing(index, side)
        small = np.array(original.resize((side // 2, side // 2), reduction))
        wanted = np.array(original)
        gains.append(
            psnr(enlarge(upscaler, [small])[0], wanted) - psnr(resize_to(small, (side, side)), wanted)
        )

    assert np.mean(gains) >= SMALLEST_GAIN


def test_an_even_picture_stays_even(upscaler: Upscaler) -> None:
    for colour in ((250, 250, 250), (220, 30, 30), (15, 15, 15), (30, 70, 220)):
        enlarged = enlarge(upscaler, [np.full((64, 64, 3), colour, dtype=np.uint8)])[0]

        assert np.abs(enlarged.astype(int) - colour).max() <= 2


@pytest.mark.parametrize("size", [(64, 64), (65, 63), (1, 1), (3, 50), (7, 9), (100, 44), (127, 8)])
def test_any_size_can_be_enlarged(upscaler: Upscaler, size: tuple[int, int]) -> None:
    width, height = size
    picture = np.array(drawing(1, 128).resize(size))
    before = picture.copy()

    enlarged = enlarge(upscaler, [picture])[0]

    assert enlarged.shape == (2 * height, 2 * width, 3)
    assert enlarged.dtype == np.uint8
    assert np.abs(enlarged.astype(int) - resize_to(picture, (2 * width, 2 * height))).mean() <= 6
    assert np.array_equal(picture, before)


def test_tiles_are_enlarged_in_company_as_they_are_alone(upscaler: Upscaler) -> None:
    tiles = drawings(5, side=64)

    together = enlarge(upscaler, tiles)

    for tile, enlarged in zip(tiles, together, strict=True):
        assert np.abs(enlarged.astype(int) - enlarge(upscaler, [tile])[0]).max() <= 1


def enlarged_in_tiles(upscaler: Upscaler, picture: Pixels, side: int, overlap: int) -> Pixels:
    tiles = cut(picture, side, overlap)
    mosaic = Mosaic(tiles, upscaler.scale)
    for tile in enlarge(upscaler, tiles.pieces):
        mosaic.add(tile)
    return mosaic.pixels


@pytest.mark.parametrize("index", range(4))
def test_a_picture_in_tiles_is_the_picture_in_one(upscaler: Upscaler, index: int) -> None:
    picture = np.array(drawing(index, 160))

    tiled = enlarged_in_tiles(upscaler, picture, side=64, overlap=16)

    difference = np.abs(tiled.astype(int) - enlarge(upscaler, [picture])[0])
    assert difference.mean() <= 0.05
    assert difference.max() <= 8


def strangeness_at_and_off_borders(upscaler: Upscaler, overlap: int) -> tuple[float, float]:
    """How much the steps from column to column differ from those of the picture enlarged in one: where tiles
    begin or end, and everywhere else."""
    side, at_borders, elsewhere = 64, [], []
    for index in range(6):
        picture = np.array(drawing(index, 192))[64:128]
        whole = enlarge(upscaler, [picture])[0].astype(int)
        tiled = enlarged_in_tiles(upscaler, picture, side, overlap).astype(int)
        steps = np.abs(np.diff(tiled, axis=1) - np.diff(whole, axis=1)).mean(axis=(0, 2))
        starts = cut(picture, side, overlap).lefts
        borders = {2 * edge - 1 for edge in (*starts[1:], *(start + side for start in starts[:-1]))}
        at_borders += [steps[column] for column in borders]
        elsewhere += [step for column, step in enumerate(steps) if column not in borders]
    return float(np.mean(at_borders)), float(np.mean(elsewhere))


@pytest.mark.parametrize(("overlap", "tolerance"), [(16, 0.02), (32, 0.001)])
def test_no_seam_shows_where_tiles_begin(upscaler: Upscaler, overlap: int, tolerance: float) -> None:
    at_borders, elsewhere = strangeness_at_and_off_borders(upscaler, overlap)

    assert at_borders <= elsewhere + tolerance  # of 255 levels


def test_seams_would_show_if_tiles_were_laid_side_by_side(upscaler: Upscaler) -> None:
    """So the measure of the test above is able to see one."""
    at_borders, elsewhere = strangeness_at_and_off_borders(upscaler, overlap=0)

    assert at_borders > 10 * elsewhere


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("upsampler", ["pixelshuffle", "pixelshuffledirect", "pixelshuffle_aux"])
def test_every_kind_of_swin2sr_is_loaded_with_its_own_scale(
    tmp_path: Path, scale: int, upsampler: str
) -> None:
    loaded = load(save_swin2sr(tmp_path / "upscaler", scale, upsampler), name="mine")

    enlarged = enlarge(loaded, [np.array(drawing(0, 64))[:13, :21]])

    assert (loaded.name, loaded.scale) == ("mine", scale)
    assert [tile.shape for tile in enlarged] == [(13 * scale, 21 * scale, 3)]


def test_half_precision_gives_nearly_the_same_picture(upscaler: Upscaler) -> None:
    picture = np.array(drawing(0, 64))

    halved = enlarge(load_upscaler("demo", str(DEMO_UPSCALER), CPU, torch.float16), [picture])[0]

    assert np.abs(halved.astype(int) - enlarge(upscaler, [picture])[0]).mean() <= 1


def no_weights(folder: Path) -> Path:
    (save_swin2sr(folder, 2) / "model.safetensors").unlink()
    return folder


def cut_weights(folder: Path) -> Path:
    file = save_swin2sr(folder, 2) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    return folder


def no_settings(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("spoilt", [no_weights, cut_weights, no_settings, save_safety_checker])
def test_a_folder_that_holds_no_whole_upscaler_is_refused(
    tmp_path: Path, spoilt: Callable[[Path], Path]
) -> None:
    with pytest.raises(GenerationFailed, match=r"^Upscaler mine (can't be loaded|is a clip model)"):
        load(spoilt(tmp_path / "upscaler"), name="mine")


def test_a_model_that_does_not_enlarge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="does not enlarge"):
        load(save_swin2sr(tmp_path / "upscaler", 1, upsampler=""))


def test_without_spandrel_an_esrgan_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)  # as if it were not there

    with pytest.raises(GenerationFailed, match="install the `esrgan` extra"):
        load(save_compact_esrgan(tmp_path / "compact.safetensors", 2))


def test_swin2sr_needs_no_spandrel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)

    assert load(DEMO_UPSCALER).scale == 2


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin"])
def test_a_pickle_is_refused_with_what_to_do_instead(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"RealESRGAN_x4plus{suffix}"
    file.write_bytes(b"whatever it holds")

    with pytest.raises(GenerationFailed, match=rf"is a {suffix} file.* convert it to \.safetensors"):
        load(file)
