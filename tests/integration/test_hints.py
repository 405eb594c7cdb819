"""Hints of tiny networks in transformers' formats, made in a slot's thread through a real engine."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import DPTForDepthEstimation, DPTImageProcessorPil

from shared.errors import GenerationFailed
from shared.hints import HINT_TYPES, READY_MADE_ONLY, Tool
from tests.support.painting import running_engine
from tests.support.tiny_hints import save_depth_estimator, save_segmenter, square
from worker.gpu.engine import Engine, Pixels, Rendering
from worker.gpu.hints import Hint, HintNetwork, load_network, make_hint, through
from worker.gpu.hints.depth import normals
from worker.gpu.hints.forward import OnDevice
from worker.gpu.hints.segmentation import PALETTE

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    save_depth_estimator(folder / Tool.DEPTH_ESTIMATOR)
    save_segmenter(folder / Tool.SEGMENTER)
    return folder


@pytest.fixture(scope="module")
def networks(folder: Path) -> dict[Tool, HintNetwork]:
    return {tool: load(tool, folder / tool) for tool in (Tool.DEPTH_ESTIMATOR, Tool.SEGMENTER)}


def load(tool: Tool, source: Path) -> HintNetwork:
    return load_network(tool, str(source), CPU, torch.float32)


def no_network(*_: Any) -> Any:
    raise AssertionError("no network is needed here")


def picture(seed: int, height: int = 40, width: int = 72) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hint(kind: str, seen: Pixels, networks: dict[Tool, HintNetwork], engine: Engine) -> Hint:
    return make_hint(kind, seen, seed=1, mask=None, networks=networks, run=through(engine))


def reason(tool: Tool, source: Path) -> str:
    with pytest.raises(GenerationFailed) as caught:
        load(tool, source)
    return caught.value.detail


@pytest.mark.parametrize("kind", [kind for kind, tool in HINT_TYPES.items() if tool is None])
def test_a_type_without_a_network_has_its_hint_or_a_reason(kind: str) -> None:
    seen, mask = square(), np.zeros((128, 128), dtype=np.uint8)

    if kind in READY_MADE_ONLY:
        with pytest.raises(GenerationFailed, match="control_image"):
            make_hint(kind, seen, seed=1, mask=mask, networks={}, run=no_network)
    else:
        made = make_hint(kind, seen, seed=1, mask=mask, networks={}, run=no_network)
        assert made.shape == seen.shape


@pytest.mark.parametrize("kind", [kind for kind, tool in HINT_TYPES.items() if tool])
def test_a_type_whose_network_is_missing_says_which_kind_of_model_brings_it(kind: str) -> None:
    with pytest.raises(GenerationFailed, match="install a model of the kind"):
        make_hint(kind, square(), seed=1, mask=None, networks={}, run=no_network)


def test_an_inpaint_hint_wants_a_mask() -> None:
    with pytest.raises(GenerationFailed, match="mask_image"):
        make_hint("inpaint", square(), seed=1, mask=None, networks={}, run=no_network)


def test_pictures_to_edit_and_codes_to_read_stay_as_they_are() -> None:
    for kind in ("ip2p", "qrcode"):
        made = make_hint(kind, square(), seed=1, mask=None, networks={}, run=no_network)
        assert np.array_equal(made, square())


@pytest.mark.parametrize("kind", ["depth", "normal", "normalbae", "segmentation"])
def test_a_networks_hint_has_the_pictures_size(
    kind: str, networks: dict[Tool, HintNetwork], engine: Engine
) -> None:
    for height, width in ((40, 72), (33, 17), (64, 64)):
        made = hint(kind, picture(1, height, width), networks, engine)

        assert made.shape == (height, width, 3)
        assert made.dtype == np.uint8


def test_depth_is_gray_and_goes_from_black_to_white(
    networks: dict[Tool, HintNetwork], engine: Engine
) -> None:
    made = hint("depth", picture(1), networks, engine)

    assert np.ptp(made, axis=2).max() == 0
    assert (made.min(), made.max()) == (0, 255)


def test_depth_is_what_the_model_itself_says(
    folder: Path, networks: dict[Tool, HintNetwork], engine: Engine
) -> None:
    source, seen = folder / Tool.DEPTH_ESTIMATOR, picture(3, 64, 64)
    inputs = DPTImageProcessorPil.from_pretrained(source)(seen, return_tensors="pt")
    with torch.no_grad():
        near = DPTForDepthEstimation.from_pretrained(source)(**inputs).predicted_depth[0].numpy()

    expected = np.round(255 * (near - near.min()) / np.ptp(near))
    assert near.shape == (64, 64)
    assert np.abs(hint("depth", seen, networks, engine)[:, :, 0] - expected).max() <= 1


def test_normals_are_red_to_the_left_green_upwards_and_blue_ahead() -> None:
    rising = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    flat = np.zeros((64, 64), dtype=np.float32)

    left_facing, up_facing = normals(rising)[32, 32].tolist(), normals(rising.T)[32, 32].tolist()

    assert normals(flat)[32, 32].tolist() == [128, 128, 255]
    assert left_facing == pytest.approx([218, 128, 218], abs=2)  # 45 degrees
    assert up_facing == pytest.approx([128, 218, 218], abs=2)
    assert normals(rising[:, ::-1])[32, 32].tolist() == pytest.approx([38, 128, 218], abs=2)


def test_normals_do_not_depend_on_the_pictures_size() -> None:
    small, large = (np.tile(np.linspace(0, 1, side, dtype=np.float32), (side, 1)) for side in (64, 512))

    assert np.abs(normals(small)[32, 32].astype(int) - normals(large)[256, 256]).max() <= 2


def test_a_segmentation_has_the_colours_of_its_classes_and_none_between(
    networks: dict[Tool, HintNetwork], engine: Engine
) -> None:
    found: list[Tensor] = []

    def run(network: nn.Module, seen: Tensor) -> Tensor:
        found.append(through(engine)(network, seen))
        return found[0]

    made = make_hint("segmentation", picture(1), seed=1, mask=None, networks=networks, run=run)

    classes = np.unique(found[0].numpy())
    assert PALETTE.shape == (150, 3)
    assert len(classes) >= 2
    assert {tuple(colour) for colour in made.reshape(-1, 3).tolist()} == {
        tuple(colour) for colour in PALETTE[classes].tolist()
    }


@pytest.mark.parametrize("kind", ["depth", "segmentation"])
def test_hints_made_at_once_are_those_made_one_by_one(
    kind: str, networks: dict[Tool, HintNetwork], engine: Engine
) -> None:
    pictures = [picture(seed) for seed in range(6)]
    alone = [hint(kind, each, networks, engine) for each in pictures]

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda each: hint(kind, each, networks, engine), pictures))

    for one, other in zip(alone, together, strict=True):
        assert (np.abs(one.astype(int) - other) <= 1).mean() >= 0.99


class Doubling(nn.Module):
    """Notes how many inputs came at once, and gives its output in a nested form."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))
        self.batches: list[int] = []

    def forward(self, seen: Tensor) -> tuple[Tensor, list[Tensor]]:
        self.batches.append(len(seen))
        return seen * self.factor, [seen + 1]


def test_forwards_of_one_size_share_a_batch_and_each_gets_its_own_rows() -> None:
    network = Doubling()
    with running_engine() as engine, ThreadPoolExecutor(4) as pool:
        inputs = [torch.full((1, 3, 8, 8), float(value)) for value in range(24)]
        outputs = list(pool.map(lambda seen: through(engine)(network, seen), inputs))

    assert sum(network.batches) == 24
    for value, (doubled, (more,)) in enumerate(outputs):
        assert doubled.shape == (1, 3, 8, 8)
        assert doubled[0, 0, 0, 0] == 2 * value
        assert more[0, 0, 0, 0] == value + 1


def test_a_job_that_shall_be_alone_shares_no_forward() -> None:
    network = Doubling()
    with running_engine() as engine, ThreadPoolExecutor(4) as pool:
        alone = object()
        seen = torch.zeros(1, 3, 8, 8)
        list(pool.map(lambda _: through(engine, alone=alone)(network, seen), range(8)))
        list(pool.map(lambda _: through(engine, alone=object())(network, seen), range(8)))

    assert network.batches[8:] == [1] * 8


def test_what_a_network_raises_reaches_the_slot_that_waits() -> None:
    class Broken(Doubling):
        def forward(self, seen: Tensor) -> tuple[Tensor, list[Tensor]]:
            raise ValueError("broken")

    with running_engine() as engine:
        stand_in = OnDevice(Broken(), through(engine))
        with pytest.raises(ValueError, match="broken"):
            stand_in(torch.zeros(1, 3, 8, 8))


def test_a_slot_can_watch_and_cancel_its_forwards() -> None:
    begun: list[Rendering] = []
    with running_engine() as engine:
        through(engine, begun.append)(Doubling(), torch.zeros(1, 3, 8, 8))

    assert len(begun) == 1
    assert begun[0].is_over


@pytest.mark.parametrize("tool", [Tool.DEPTH_ESTIMATOR, Tool.SEGMENTER])
def test_a_network_that_is_not_there_can_not_be_loaded(tool: Tool, tmp_path: Path) -> None:
    assert "can't be loaded" in reason(tool, tmp_path)


def test_a_network_of_another_kind_is_refused_by_name(folder: Path) -> None:
    assert "segformer" in reason(Tool.DEPTH_ESTIMATOR, folder / Tool.SEGMENTER)
    assert "dpt" in reason(Tool.SEGMENTER, folder / Tool.DEPTH_ESTIMATOR)


def test_a_depth_estimator_that_measures_in_metres_is_refused(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder / Tool.DEPTH_ESTIMATOR, tmp_path / "metric")
    config = json.loads((copied / "config.json").read_text()) | {"depth_estimation_type": "metric"}
    (copied / "config.json").write_text(json.dumps(config))

    assert "metres" in reason(Tool.DEPTH_ESTIMATOR, copied)


def test_a_network_without_its_preparation_can_not_be_loaded(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder / Tool.DEPTH_ESTIMATOR, tmp_path / "bare")
    (copied / "preprocessor_config.json").unlink()

    assert "can't be loaded" in reason(Tool.DEPTH_ESTIMATOR, copied)


def test_a_network_that_lacks_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder / Tool.DEPTH_ESTIMATOR, tmp_path / "torn")
    weights = load_file(copied / "model.safetensors")
    weights.pop(next(name for name in weights if name.startswith("head")))
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})

    assert "weights are missing" in reason(Tool.DEPTH_ESTIMATOR, copied)


def test_a_segmenter_of_other_classes_is_refused(tmp_path: Path) -> None:
    assert "150" in reason(Tool.SEGMENTER, save_segmenter(tmp_path / "other", classes=19))


def test_an_annotator_without_its_library_says_what_to_install(tmp_path: Path) -> None:
    for tool in (Tool.HED, Tool.OPENPOSE):
        assert "printworks[preprocessors]" in reason(tool, tmp_path)
