"""Files of the ESRGAN family, loaded by spandrel under the names that their authors gave the weights."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.errors import GenerationFailed
from tests.support.painting import running_engine
from tests.support.tiny import save_tensors
from tests.support.tiny_finishing import drawing
from tests.support.tiny_upscalers import enlarge, save_compact_esrgan, save_esrgan
from worker.gpu.engine import Pixels
from worker.gpu.enlarging import EnlargeRequest, Upscaler, enlarge_picture, load_upscaler

CPU = torch.device("cpu")


def load(file: Path, dtype: torch.dtype = torch.float32) -> Upscaler:
    return load_upscaler("mine", str(file), CPU, dtype)


def enlarged(upscaler: Upscaler, picture: Pixels, scale: float) -> Pixels:
    with running_engine() as engine:
        program = partial(enlarge_picture, upscaler, EnlargeRequest(picture, scale))
        return engine.submit([program]).result()[0].develop()


@pytest.mark.parametrize("scale", [2, 4])
def test_a_compact_real_esrgan_is_loaded_with_its_own_scale(tmp_path: Path, scale: int) -> None:
    loaded = load(save_compact_esrgan(tmp_path / "compact.safetensors", scale))
    tiles = [np.array(drawing(index, 64))[:33, :21] for index in range(3)]

    made = enlarge(loaded, tiles)

    assert (loaded.name, loaded.scale) == ("mine", scale)
    for tile, result in zip(tiles, made, strict=True):
        assert np.array_equal(result, tile.repeat(scale, axis=0).repeat(scale, axis=1))


def test_a_large_picture_goes_through_in_tiles(tmp_path: Path) -> None:
    loaded = load(save_compact_esrgan(tmp_path / "compact.safetensors", 2))
    picture = np.array(drawing(0, 600))

    made = enlarged(loaded, picture, 4)

    assert np.array_equal(made, picture.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.parametrize("scale", [1, 2.5, 4])
def test_an_esrgan_makes_pictures_of_any_size(tmp_path: Path, scale: float) -> None:
    loaded = load(save_esrgan(tmp_path / "esrgan.safetensors"))
    picture = np.array(drawing(1, 64))[:40, :57]

    made = enlarged(loaded, picture, scale)

    assert loaded.scale == 4
    assert made.shape == (round(40 * scale), round(57 * scale), 3)
    assert made.std() > 1


def test_a_picture_in_tiles_is_the_picture_in_one(tmp_path: Path) -> None:
    loaded = load(save_esrgan(tmp_path / "esrgan.safetensors"))
    picture = np.array(drawing(2, 300))[:64]

    made = enlarged(loaded, picture, 4)

    difference = np.abs(made.astype(int) - enlarge(loaded, [picture])[0])
    assert difference.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_gives_nearly_the_same_picture(tmp_path: Path, dtype: torch.dtype) -> None:
    file = save_esrgan(tmp_path / "esrgan.safetensors")
    picture = np.array(drawing(0, 64))

    halved = enlarge(load(file, dtype), [picture])[0]

    assert np.abs(halved.astype(int) - enlarge(load(file), [picture])[0]).mean() <= 2


def test_a_file_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    file = save_esrgan(tmp_path / "esrgan.safetensors")
    weights = load_file(file)
    del weights["body.0.rdb2.conv3.weight"]
    save_file(weights, file)

    with pytest.raises(GenerationFailed, match=r"^Upscaler mine can't be loaded"):
        load(file)


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.safetensors"
    file.write_bytes(b"not weights")

    with pytest.raises(GenerationFailed, match=r"^Upscaler mine can't be loaded"):
        load(file)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    file = save_tensors(tmp_path / "other.safetensors")

    with pytest.raises(GenerationFailed, match=r"^Upscaler mine is none of the networks"):
        load(file)


def test_a_network_for_grey_pictures_is_refused(tmp_path: Path) -> None:
    file = save_compact_esrgan(tmp_path / "compact.safetensors", 2, channels=1)

    with pytest.raises(GenerationFailed, match=r"^Upscaler mine is no network for pictures in colour"):
        load(file)


def test_a_network_that_only_cleans_is_refused(tmp_path: Path) -> None:
    file = save_compact_esrgan(tmp_path / "compact.safetensors", 1)

    with pytest.raises(GenerationFailed, match=r"^Upscaler mine does not enlarge"):
        load(file)
