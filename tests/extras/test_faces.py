"""Faces found, restored and put back: by YuNet's interface in OpenCV and networks that spandrel reads.

The detector here takes red spots for faces (tests/support/tiny_faces.py).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import GenerationFailed
from tests.support.painting import running_engine
from tests.support.tiny import save_tensors
from tests.support.tiny_faces import FACE, LANDMARKS, SPOT, gfpgan, save_detector, save_restorer
from tests.support.tiny_finishing import drawing
from tests.support.tiny_upscalers import Repeating, save_compact_esrgan
from worker.gpu.engine import Pixels
from worker.gpu.enlarging import EnlargeRequest, Face, FaceEnhancer, enlarge_picture, load_face_enhancer
from worker.gpu.enlarging.alignment import take_out
from worker.gpu.enlarging.detector import FaceDetector
from worker.gpu.enlarging.faces import DETECTOR, RESTORER, FaceRestorer

CPU = torch.device("cpu")
SIDE = 640


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("faces")
    save_detector(made / DETECTOR)
    save_restorer(made / RESTORER)
    return made


@pytest.fixture(scope="module")
def enhancer(folder: Path) -> FaceEnhancer:
    return load_face_enhancer(folder, CPU, torch.float32)


@pytest.fixture(scope="module")
def detector(folder: Path) -> FaceDetector:
    return FaceDetector(folder / DETECTOR)


def grey(width: int = SIDE, height: int = SIDE) -> Pixels:
    """With some texture, so that a change of any kind shows."""
    texture = np.random.default_rng(0).integers(100, 110, (height, width, 1), dtype=np.uint8)
    return texture.repeat(3, axis=2)


def with_spots(picture: Pixels, *places: tuple[int, int], side: int = SPOT) -> Pixels:
    """Red ones, with their left and top edges at these places."""
    spotted = picture.copy()
    for left, top in places:
        spotted[top : top + side, left : left + side] = (255, 0, 0)
    return spotted


def enlarged(picture: Pixels, faces: tuple[Face, ...], scale: float = 2) -> Pixels:
    wanted = EnlargeRequest(picture, scale, faces)
    with running_engine() as engine:
        program = partial(enlarge_picture, Repeating(2), wanted)
        return engine.submit([program]).result()[0].develop()


def middles(detector: FaceDetector, picture: Pixels) -> list[tuple[int, int]]:
    """Where the tips of the noses are."""
    return sorted((round(face[2, 0]), round(face[2, 1])) for face in detector.find(picture))


def test_faces_are_found_where_they_are(detector: FaceDetector) -> None:
    picture = with_spots(grey(), (160, 96), (416, 320))

    found = detector.find(picture)

    assert middles(detector, picture) == [(176, 112), (432, 336)]
    first = min(found, key=lambda face: face[2, 0])
    assert first == pytest.approx(np.array([176, 112]) + SPOT * np.array(LANDMARKS), abs=0.5)


@pytest.mark.parametrize(("width", "height"), [(1280, 640), (320, 160), (100, 200), (3000, 1000)])
def test_faces_are_found_in_pictures_of_any_size(detector: FaceDetector, width: int, height: int) -> None:
    unit = max(width, height) / 640
    left, top, side = round(64 * unit), round(96 * unit), round(SPOT * unit)

    found = middles(detector, with_spots(grey(width, height), (left, top), side=side))

    assert len(found) == 1
    assert found[0] == pytest.approx((left + side / 2, top + side / 2), abs=2 * max(1, unit))


def test_a_face_too_large_for_the_detector_is_found_from_further_away(detector: FaceDetector) -> None:
    picture = with_spots(grey(), (256, 256), side=4 * SPOT)

    assert middles(detector, picture) == [pytest.approx((320, 320), abs=25)]


def test_a_restored_face_changes_its_place_and_not_a_bit_elsewhere(enhancer: FaceEnhancer) -> None:
    picture = with_spots(grey(), (288, 288))
    before = picture.copy()
    faces = enhancer.find(picture)

    finished = enlarged(picture, faces)

    untouched = picture.repeat(2, axis=0).repeat(2, axis=1)
    changed = (finished != untouched).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert len(faces) == 1
    assert np.array_equal(picture, before)
    assert changed[2 * 290 : 2 * 318, 2 * 290 : 2 * 318].mean() > 0.9
    assert rows.min() > 2 * (304 - FACE)
    assert rows.max() < 2 * (304 + FACE)
    assert columns.min() > 2 * (304 - FACE)
    assert columns.max() < 2 * (304 + FACE)


def test_a_picture_without_faces_stays_as_it_is(enhancer: FaceEnhancer) -> None:
    picture = np.array(drawing(3, 200)) // 4

    faces = enhancer.find(picture)

    assert faces == ()
    assert np.array_equal(enlarged(picture, faces), picture.repeat(2, axis=0).repeat(2, axis=1))


def test_every_face_is_restored(enhancer: FaceEnhancer) -> None:
    places = [(64, 64), (256, 480)]
    picture = with_spots(grey(), *places)

    finished = enlarged(picture, enhancer.find(picture), scale=1)

    changed = (finished != picture).any(axis=2)
    for left, top in places:
        assert changed[top : top + SPOT, left : left + SPOT].mean() > 0.9


@pytest.mark.parametrize("place", [(0, 0), (608, 320)], ids=str)
def test_a_face_that_the_border_cuts_is_restored(enhancer: FaceEnhancer, place: tuple[int, int]) -> None:
    picture = with_spots(grey(), place)

    finished = enlarged(picture, enhancer.find(picture), scale=1.5)

    assert finished.shape == (960, 960, 3)
    assert not np.array_equal(finished, enlarged(picture, (), scale=1.5))


class Idle(FaceRestorer):
    """Gives faces back as they are."""

    def restore(self, faces: Sequence[Pixels]) -> list[Pixels]:
        return list(faces)


def error(picture: Pixels, wanted: Pixels) -> float:
    return float(np.abs(picture.astype(int) - wanted).mean())


def test_a_face_that_nothing_was_done_to_comes_back_to_its_place(enhancer: FaceEnhancer) -> None:
    """So what a restorer draws lies where the face was."""
    drawn = np.array(drawing(5, SIDE).convert("L").convert("RGB"))
    (face,) = enhancer.find(with_spots(drawn, (288, 288)))
    idle = Face(take_out(drawn, face.matrix), face.matrix, Idle(gfpgan()))

    finished, untouched = enlarged(drawn, (idle,)), enlarged(drawn, ())

    middle = slice(2 * 280, 2 * 330)
    near = error(finished[middle, middle], untouched[middle, middle])
    for axis in (0, 1):
        for shift in (-2, 2):
            assert near < error(finished[middle, middle], np.roll(untouched, shift, axis)[middle, middle])


def test_a_restored_face_has_no_hard_border(enhancer: FaceEnhancer) -> None:
    even = np.full((SIDE, SIDE, 3), 100, dtype=np.uint8)
    (face,) = enhancer.find(with_spots(even, (288, 288)))
    white = Face(np.full_like(face.pixels, 255), face.matrix, Idle(gfpgan()))

    finished = enlarged(even, (white,)).astype(int)

    assert finished.max() == 255
    for axis in (0, 1):
        assert np.abs(np.diff(finished, axis=axis)).max() <= 20


def test_gfpgan_draws_the_same_face_each_time_and_beside_others() -> None:
    restorer = FaceRestorer(gfpgan())
    faces = [np.array(drawing(index, 512)) for index in range(2)]

    alone = restorer.restore(faces[:1])[0]

    assert np.abs(restorer.restore(faces)[0].astype(int) - alone).max() <= 1
    assert alone.std() > 1


def test_gfpgan_is_called_with_numbers_around_zero() -> None:
    model = gfpgan()
    face = np.array(drawing(0, 512))
    seen = torch.from_numpy(face).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        wanted = model.model(seen, randomize_noise=False)[0].clamp(-1, 1)[0].permute(1, 2, 0).numpy()

    restored = FaceRestorer(model).restore([face])[0]

    assert np.abs(restored - (wanted + 1) * 127.5).max() <= 1


@pytest.mark.parametrize("name", [DETECTOR, RESTORER])
def test_a_missing_file_is_told_with_what_to_install(tmp_path: Path, name: str) -> None:
    save_detector(tmp_path / DETECTOR)
    save_restorer(tmp_path / RESTORER)
    (tmp_path / name).unlink()

    with pytest.raises(GenerationFailed, match=rf"lacks, {name}: put YuNet's ONNX file .* into one folder"):
        load_face_enhancer(tmp_path, CPU, torch.float32)


def broken_detector(folder: Path) -> None:
    (folder / DETECTOR).write_bytes(b"no network")


def broken_restorer(folder: Path) -> None:
    (folder / RESTORER).write_bytes(b"no weights")


def foreign_restorer(folder: Path) -> None:
    save_tensors(folder / RESTORER)


def enlarging_restorer(folder: Path) -> None:
    save_compact_esrgan(folder / RESTORER, 2)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (broken_detector, r"^The detector of faces can't be loaded on the server"),
        (broken_restorer, r"^The restorer of faces can't be loaded on the server"),
        (foreign_restorer, r"^The restorer of faces is none of the networks"),
        (enlarging_restorer, r"^The restorer of faces is no network that restores faces"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    save_detector(tmp_path / DETECTOR)
    save_restorer(tmp_path / RESTORER)
    spoil(tmp_path)

    with pytest.raises(GenerationFailed, match=sentence):
        load_face_enhancer(tmp_path, CPU, torch.float32)
