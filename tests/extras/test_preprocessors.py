"""Hints by `controlnet_aux`, with random weights in the files that it reads: they are what the library's own
detectors make, though its networks run on the engine's thread."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.errors import GenerationFailed
from shared.hints import Tool
from tests.support.painting import running_engine
from tests.support.tiny_hints import square
from worker.gpu.engine import Engine, Pixels
from worker.gpu.hints import load_network, make_hint, through
from worker.gpu.hints.annotators import FILES, Annotator
from worker.gpu.hints.segmentation import PALETTE

CPU = torch.device("cpu")
KINDS = {
    Tool.HED: "hed",
    Tool.PIDINET: "softedge",
    Tool.MLSD: "mlsd",
    Tool.LINEART: "lineart",
    Tool.OPENPOSE: "openpose",
}
JOINTS, LIMBS = 19, 38
"""Maps that OpenPose's network gives: one for each joint and the background, two for each limb."""
NECK, SHOULDER, ELBOW, WRIST = 1, 2, 3, 4
ARM = (12, 14, 16)
"""Where it tells how far the limbs between these joints point to the right."""


@pytest.fixture(scope="module")
def library() -> Any:
    """The parts of controlnet_aux, as ours imports it: without the warnings of what is not used."""
    from worker.gpu.hints.annotators import _library

    return _library


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, library: Callable[[str], Any]) -> Path:
    """Laid out like the hub's lllyasviel/Annotators."""
    folder = tmp_path_factory.mktemp("annotators")
    torch.manual_seed(0)
    hed = library("hed").ControlNetHED_Apache2()
    torch.save(hed.state_dict(), folder / FILES[Tool.HED])
    pidinet = {
        f"module.{name}": weight for name, weight in library("pidi.model").pidinet().state_dict().items()
    }
    torch.save({"state_dict": pidinet, "epoch": 19}, folder / FILES[Tool.PIDINET])
    mlsd = library("mlsd.models.mbv2_mlsd_large").MobileV2_MLSD_Large()
    torch.save(mlsd.state_dict(), folder / FILES[Tool.MLSD])
    lineart = library("lineart").Generator(3, 1, 3)
    torch.save(lineart.state_dict(), folder / FILES[Tool.LINEART])
    torch.save(lineart.state_dict(), folder / "sk_model2.pth")
    pose = library("open_pose.model").bodypose_model()
    bare = {name.split(".", 1)[1]: weight for name, weight in pose.state_dict().items()}
    torch.save(bare, folder / FILES[Tool.OPENPOSE])
    return folder


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running_engine() as engine:
        yield engine


def load(tool: Tool, folder: Path) -> Annotator:
    network = load_network(tool, str(folder), CPU, torch.float32)
    assert isinstance(network, Annotator)
    return network


def made(tool: Tool, folder: Path, seen: Pixels, run: Any) -> Pixels:
    hint = make_hint(KINDS[tool], seen, seed=1, mask=None, networks={tool: load(tool, folder)}, run=run)
    assert hint.dtype == np.uint8
    return hint.astype(np.uint8)


def picture(height: int, width: int) -> Pixels:
    """A square, and specks all over."""
    specks = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    whole: Pixels = np.clip(square(side=max(height, width))[:height, :width] + specks, 0, 255).astype(
        np.uint8
    )
    return whole


DETECTORS = {
    Tool.HED: ("hed", "HEDdetector"),
    Tool.PIDINET: ("pidi", "PidiNetDetector"),
    Tool.MLSD: ("mlsd", "MLSDdetector"),
    Tool.LINEART: ("lineart", "LineartDetector"),
}


@pytest.mark.parametrize("tool", DETECTORS)
def test_a_hint_is_what_the_librarys_own_detector_makes(
    tool: Tool, folder: Path, engine: Engine, library: Callable[[str], Any]
) -> None:
    seen = picture(128, 192)
    part, name = DETECTORS[tool]
    detector = getattr(library(part), name).from_pretrained(str(folder))

    hint = made(tool, folder, seen, through(engine))

    expected = detector(seen, detect_resolution=128, image_resolution=128, output_type="np")
    assert hint.shape == expected.shape == seen.shape
    assert np.abs(hint.astype(int) - expected).max() <= 1
    assert np.ptp(hint) > 0


@pytest.mark.parametrize("tool", DETECTORS)
def test_any_size_has_its_hint(tool: Tool, folder: Path, engine: Engine) -> None:
    for height, width in ((90, 130), (20, 70)):
        assert made(tool, folder, picture(height, width), through(engine)).shape == (height, width, 3)


def an_arm(seen: Tensor) -> list[Tensor]:
    """What OpenPose's network would say of an arm that is stretched out, in the middle of the picture."""
    height, width = seen.shape[2] // 8, seen.shape[3] // 8
    limbs, joints = torch.zeros(1, LIMBS, height, width), torch.zeros(1, JOINTS, height, width)
    for number, joint in enumerate((NECK, SHOULDER, ELBOW, WRIST)):
        joints[0, joint, height // 2, (2 * number + 1) * width // 8] = 1.0
    limbs[0, ARM] = 1.0
    return [limbs, joints]


def test_a_pose_is_drawn_where_the_network_sees_joints(folder: Path) -> None:
    hint = made(Tool.OPENPOSE, folder, square(side=256), lambda _, seen: an_arm(seen))

    ys, xs = np.nonzero(hint.any(axis=2))
    assert 96 <= ys.min() < ys.max() <= 160
    assert 20 <= xs.min() <= 60
    assert 196 <= xs.max() <= 250
    assert len(np.unique(hint.reshape(-1, 3), axis=0)) >= 4


def test_a_pose_is_looked_for_on_the_engines_thread(folder: Path, engine: Engine) -> None:
    hint = made(Tool.OPENPOSE, folder, picture(90, 130), through(engine))

    assert hint.shape == (90, 130, 3)


@pytest.mark.parametrize("tool", KINDS)
def test_a_missing_file_is_named(tool: Tool, tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match=FILES[tool]):
        load(tool, tmp_path)


def test_weights_of_another_network_are_refused(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    for tool, other in ((Tool.HED, Tool.MLSD), (Tool.OPENPOSE, Tool.HED)):
        shutil.copy(folder / FILES[other], tmp_path / FILES[tool])

        with pytest.raises(GenerationFailed, match="does not hold"):
            load(tool, tmp_path)


class Trap:
    """Something that runs code while it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("sprung",))


def test_code_that_hides_in_a_file_of_weights_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": Trap()}, tmp_path / FILES[Tool.PIDINET])

    with pytest.raises(GenerationFailed, match="can't be loaded"):
        load(Tool.PIDINET, tmp_path)

    assert "sprung" not in capsys.readouterr().out


def test_the_palette_is_the_one_that_control_nets_know(library: Callable[[str], Any]) -> None:
    assert PALETTE.tolist() == library("util").ade_palette()
