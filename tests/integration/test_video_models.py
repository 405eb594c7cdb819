"""Video models, read from real folders in diffusers' layout: which are known, and what of them is read."""

import json
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from shared.errors import GenerationFailed
from tests.support import tiny, tiny_video
from tests.support.filming import film_request, filmed, stock_film
from tests.support.painting import assert_same
from worker.gpu.engine import Engine
from worker.gpu.filming import VideoModel, expected_bytes, load_video_model, measured_bytes
from worker.gpu.models.precision import Precision
from worker.gpu.schedulers import make_scheduler

FP32 = Precision.choose("cpu", "fp32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("video")
    tiny.stable_diffusion_xl().save_pretrained(folder / "xl")
    return tiny_video.save_all(folder) | {"xl": folder / "xl"}


@pytest.fixture(scope="module")
def animatediff(folders: dict[str, Path]) -> VideoModel:
    return load_video_model("animatediff", folders["checkpoint"], FP32, folders["adapter"])


def test_a_whole_animatediff_folder_needs_no_motion_adapter(
    engine: Engine, folders: dict[str, Path], animatediff: VideoModel
) -> None:
    model = load_video_model("whole", folders["animatediff"], FP32)

    made = filmed(engine, model, film_request())

    assert (made == filmed(engine, animatediff, film_request())).all()
    assert measured_bytes(model) == measured_bytes(animatediff)


def test_a_checkpoint_of_pictures_needs_a_motion_adapter(folders: dict[str, Path]) -> None:
    with pytest.raises(GenerationFailed, match="makes pictures only: send the id of a model that"):
        load_video_model("still", folders["checkpoint"], FP32)


def test_a_motion_adapter_brings_the_noise_that_it_was_trained_with(
    engine: Engine, folders: dict[str, Path], animatediff: VideoModel, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(folders["adapter"], adapter)
    (adapter / "scheduler").mkdir()
    (adapter / "scheduler" / "scheduler_config.json").write_text(json.dumps({"beta_schedule": "linear"}))
    model = load_video_model("linear", folders["checkpoint"], FP32, adapter)

    made = filmed(engine, model, film_request())

    stock = diffusers.AnimateDiffPipeline.from_pretrained(folders["animatediff"])
    linear = {**stock.scheduler.config, "beta_schedule": "linear"}
    assert_same(made, stock_film(stock, make_scheduler(film_request().sampling, linear), film_request()))
    assert (made != filmed(engine, animatediff, film_request())).any()


@pytest.mark.parametrize("name", ["xl", "adapter", "nowhere"])
def test_a_folder_that_is_no_video_model_can_not_be_loaded(folders: dict[str, Path], name: str) -> None:
    folder = folders.get(name, Path("/nowhere"))

    with pytest.raises(GenerationFailed, match=f"Video model {name} can't be loaded on the server"):
        load_video_model(name, folder, FP32, folders["adapter"])


def test_weights_that_are_not_in_safetensors_are_not_read(folders: dict[str, Path], tmp_path: Path) -> None:
    copied = tmp_path / "wan"
    shutil.copytree(folders["wan"], copied)
    (copied / "transformer" / "diffusion_pytorch_model.safetensors").rename(
        copied / "transformer" / "diffusion_pytorch_model.bin"
    )

    with pytest.raises(GenerationFailed, match="can't be loaded"):
        load_video_model("pickled", copied, FP32)


@pytest.mark.parametrize("name", ["checkpoint", "animatediff", "wan"])
def test_what_a_model_takes_is_measured_and_was_expected_to_be_no_less(
    folders: dict[str, Path], name: str
) -> None:
    adapter = folders["adapter"] if name == "checkpoint" else None
    model = load_video_model(name, folders[name], FP32, adapter)

    taken = measured_bytes(model)

    assert taken == sum(4 * weight.numel() for network in model.networks for weight in network.parameters())
    assert 0 < taken <= expected_bytes(folders[name], FP32, adapter)


def test_wan_runs_in_bfloat16_but_for_what_has_to_stay_precise(
    engine: Engine, folders: dict[str, Path]
) -> None:
    model = load_video_model("half", folders["wan"], Precision.choose("cpu", "fp16"))

    made = filmed(engine, model, film_request())

    formats = {
        name: weight.dtype
        for network in model.networks
        if isinstance(network, diffusers.WanTransformer3DModel)
        for name, weight in network.named_parameters()
    }
    assert formats["blocks.0.attn1.to_q.weight"] is torch.bfloat16
    assert formats["blocks.0.scale_shift_table"] is torch.float32
    assert formats["condition_embedder.time_embedder.linear_1.weight"] is torch.float32
    precise = filmed(engine, load_video_model("wan", folders["wan"], FP32), film_request())
    assert np.abs(made.astype(int) - precise).mean() < 2
