"""The safety checker as the worker loads it: tiny and random, in the real format, from disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.errors import GenerationFailed
from tests.support.tiny_finishing import (
    ALWAYS,
    CHECKER_SIDE,
    NEVER,
    drawings,
    image_processor,
    safety_checker,
    save_safety_checker,
)
from worker.gpu.engine.rendering import Pixels
from worker.gpu.finishing.safety import SafetyChecker

CPU = torch.device("cpu")


def load(folder: Path, dtype: torch.dtype = torch.float32) -> SafetyChecker:
    return SafetyChecker.load(str(folder), CPU, dtype)


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    return [*drawings(8, side=64), *drawings(4, side=96)]


@pytest.fixture(scope="module")
def threshold(pictures: list[Pixels]) -> float:
    """One that some of the pictures pass and some do not."""
    for candidate in np.linspace(-0.5, 0.5, 201):
        flags = SafetyChecker(safety_checker(float(candidate)), image_processor()).check(pictures)
        if 3 <= sum(flags) <= 9:
            return float(candidate)
    raise AssertionError("All pictures look the same to this checker.")


@pytest.mark.parametrize(("limit", "flagged"), [(ALWAYS, True), (NEVER, False)])
def test_a_picture_is_flagged_when_it_is_nearer_to_a_concept_than_allowed(
    tmp_path: Path, pictures: list[Pixels], limit: float, flagged: bool
) -> None:
    checker = load(save_safety_checker(tmp_path / "checker", limit))

    assert checker.check(pictures) == [flagged] * len(pictures)


@pytest.mark.parametrize("limit", [ALWAYS, NEVER])
def test_checking_leaves_the_pixels_as_they_are(tmp_path: Path, limit: float) -> None:
    pictures = drawings(3, side=64)
    before = [picture.copy() for picture in pictures]
    for picture in pictures:
        picture.flags.writeable = False

    load(save_safety_checker(tmp_path / "checker", limit)).check(pictures)

    assert all(np.array_equal(*pair) for pair in zip(pictures, before, strict=True))


def test_pictures_are_flagged_in_company_as_they_are_alone(
    tmp_path: Path, pictures: list[Pixels], threshold: float
) -> None:
    checker = load(save_safety_checker(tmp_path / "checker", threshold))

    together = checker.check(pictures)

    assert together == [checker.check([picture])[0] for picture in pictures]
    assert together == checker.check(pictures)
    assert {True, False} == set(together)


def test_all_pictures_of_a_call_share_one_forward(pictures: list[Pixels]) -> None:
    model, batches = safety_checker(NEVER), []
    model.vision_model.register_forward_pre_hook(lambda _, seen: batches.append(len(seen[0])))

    SafetyChecker(model, image_processor()).check(pictures)

    assert batches == [len(pictures)]


def test_no_pictures_need_no_forward() -> None:
    assert SafetyChecker(safety_checker(ALWAYS), image_processor()).check([]) == []


@pytest.mark.parametrize("shape", [(48, 160, 3), (200, 33, 3), (CHECKER_SIDE, CHECKER_SIDE, 3), (7, 5, 3)])
def test_pictures_of_any_shape_can_be_checked(shape: tuple[int, int, int]) -> None:
    checker = SafetyChecker(safety_checker(ALWAYS), image_processor())

    assert checker.check([np.full(shape, 90, dtype=np.uint8)]) == [True]


@pytest.mark.parametrize("layout", ["inside", "beside", "in the checker itself", "as a pipeline", "absent"])
def test_the_image_processor_is_found_wherever_it_lies(
    tmp_path: Path, pictures: list[Pixels], threshold: float, layout: str
) -> None:
    folder = save_safety_checker(tmp_path / "safety_checker", threshold)
    wanted = load(folder).check(pictures)
    extractor = folder / "feature_extractor"
    if layout in ("beside", "as a pipeline"):
        extractor.rename(tmp_path / "feature_extractor")
    elif layout == "in the checker itself":
        (extractor / "preprocessor_config.json").rename(folder / "preprocessor_config.json")
    elif layout == "absent":
        shutil.rmtree(extractor)

    source = tmp_path if layout == "as a pipeline" else folder

    assert load(source).check(pictures) == wanted


def test_a_processor_of_another_size_is_obeyed(tmp_path: Path) -> None:
    folder = save_safety_checker(tmp_path / "checker", ALWAYS)
    settings = folder / "feature_extractor" / "preprocessor_config.json"
    settings.write_text(settings.read_text().replace(str(CHECKER_SIDE), str(2 * CHECKER_SIDE)))

    with pytest.raises(ValueError, match="64"):
        load(folder).check(drawings(1, side=64))


def test_checkpoints_with_the_older_names_of_weights_are_read(
    tmp_path: Path, pictures: list[Pixels], threshold: float
) -> None:
    folder = save_safety_checker(tmp_path / "checker", threshold)
    wanted = load(folder).check(pictures)
    file = folder / "model.safetensors"
    weights = {
        name.replace("vision_model.", "vision_model.vision_model.", 1): weight
        for name, weight in load_file(file).items()
    }
    save_file(weights, file, metadata={"format": "pt"})

    assert load(folder).check(pictures) == wanted


def test_half_precision_flags_what_is_clear(tmp_path: Path, pictures: list[Pixels]) -> None:
    always, never = (save_safety_checker(tmp_path / str(limit), limit) for limit in (ALWAYS, NEVER))

    assert all(load(always, torch.bfloat16).check(pictures))
    assert not any(load(never, torch.bfloat16).check(pictures))


def test_a_checker_without_all_its_weights_is_refused(tmp_path: Path) -> None:
    folder = save_safety_checker(tmp_path / "checker")
    file = folder / "model.safetensors"
    weights = {name: weight for name, weight in load_file(file).items() if "visual_projection" not in name}
    save_file(weights, file, metadata={"format": "pt"})

    with pytest.raises(GenerationFailed, match="Weights are missing"):
        load(folder)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = save_safety_checker(tmp_path / "checker")
    file = folder / "model.safetensors"
    torch.save(load_file(file), folder / "pytorch_model.bin")
    file.unlink()

    with pytest.raises(GenerationFailed, match="can't be loaded"):
        load(folder)


@pytest.mark.parametrize("content", [None, b"", b"not weights at all"])
def test_a_folder_that_holds_no_checker_is_refused(tmp_path: Path, content: bytes | None) -> None:
    folder = save_safety_checker(tmp_path / "checker")
    file = folder / "model.safetensors"
    file.unlink()
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(GenerationFailed, match="can't be loaded"):
        load(folder)
