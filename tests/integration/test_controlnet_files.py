"""ControlNets load from folders and single files, and what is none, or none for the model, is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file, save_file

from shared.errors import GenerationFailed
from tests.support import tiny
from tests.support.control_files import save_original
from worker.gpu.models.controlnets import LoadedControlNet, load_controlnet, require_fit
from worker.gpu.models.loaded import LoadedModel, from_pipeline
from worker.gpu.models.precision import Precision

ON_CPU = Precision.choose("cpu", "fp32")
SD1: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "layers_per_block": 2,
    "cross_attention_dim": 32,
}
"""As the real ones, with few and narrow layers: eight heads, norms in 32 groups."""
SDXL: dict[str, Any] = {
    "block_out_channels": (64, 128),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "transformer_layers_per_block": (1, 2),
    "attention_head_dim": (1, 2),
    "use_linear_projection": True,
    "cross_attention_dim": 64,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 6 * 256 + 32,
}


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return from_pipeline("tiny", tiny.stable_diffusion())


def network(**shape: Any) -> ControlNetModel:
    torch.manual_seed(0)
    return tiny.outspoken(ControlNetModel(**shape))


def as_folder(net: ControlNetModel, place: Path) -> Path:
    net.save_pretrained(place)
    return place


def as_file(net: ControlNetModel, place: Path) -> Path:
    save_file(net.state_dict(), place.with_suffix(".safetensors"))
    return place.with_suffix(".safetensors")


def as_original(net: ControlNetModel, place: Path) -> Path:
    return save_original(net, place.with_suffix(".safetensors"))


def as_bare_original(net: ControlNetModel, place: Path) -> Path:
    return save_original(net, place.with_suffix(".safetensors"), prefix="")


@pytest.mark.parametrize(
    ("shape", "save"),
    [
        pytest.param(SD1, as_folder, id="sd1 folder"),
        pytest.param(SD1, as_file, id="sd1 file"),
        pytest.param(SD1, as_original, id="sd1 original"),
        pytest.param(SD1, as_bare_original, id="sd1 original without a prefix"),
        pytest.param(SDXL, as_folder, id="sdxl folder"),
        pytest.param(SDXL, as_file, id="sdxl file"),
    ],
)
def test_every_format_says_what_was_saved(
    tmp_path: Path, shape: dict[str, Any], save: Callable[[ControlNetModel, Path], Path]
) -> None:
    net = network(**shape)

    loaded = load_controlnet("canny", save(net, tmp_path / "canny"), ON_CPU)

    for ours, saved in zip(said(loaded), said(net), strict=True):
        torch.testing.assert_close(ours, saved)


def said(net: ControlNetModel | LoadedControlNet) -> list[torch.Tensor]:
    """To some input."""
    network = net if isinstance(net, ControlNetModel) else net.network
    draw = torch.Generator().manual_seed(5)
    hint = torch.rand(2, 3, 64, 64, generator=draw)
    width = network.config.cross_attention_dim
    with torch.inference_mode():
        down, mid = network(
            torch.randn(2, 4, 8, 8, generator=draw),
            torch.tensor([900.0, 20.0]),
            encoder_hidden_states=torch.randn(2, 77, width, generator=draw),
            controlnet_cond=hint if isinstance(net, ControlNetModel) else net.read(hint),
            added_cond_kwargs={"text_embeds": torch.ones(2, 32), "time_ids": torch.full((2, 6), 64.0)},
            return_dict=False,
        )
    return [*down, mid]


def test_half_precision_takes_half_the_memory(tmp_path: Path) -> None:
    net = network(**SD1)
    folder = as_folder(net, tmp_path / "canny")

    whole, half = (
        load_controlnet("canny", folder, Precision.choose("cpu", dtype)) for dtype in ("fp32", "bf16")
    )

    assert whole.bytes == 4 * sum(weights.numel() for weights in net.parameters())
    assert half.bytes == whole.bytes // 2
    assert half.read(torch.rand(1, 3, 64, 64)).dtype == torch.bfloat16


def test_a_single_file_pools_if_its_name_says_that_it_shuffles(tmp_path: Path) -> None:
    net = network(**SD1)
    files = [
        as_original(net, tmp_path / name) for name in ("control_v11e_sd15_shuffle", "control_v11p_canny")
    ]

    shuffle, canny = (load_controlnet(file.stem, file, ON_CPU) for file in files)

    assert shuffle.pools
    assert not canny.pools


def a_unet(place: Path) -> Path:
    tiny.unet().save_pretrained(place)
    return place


def without_weights(place: Path) -> Path:
    folder = as_folder(network(**SD1), place)
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    save_file(
        {name: value for name, value in weights.items() if "zero" not in name and "mid" not in name}, file
    )
    return folder


def half_an_original(place: Path) -> Path:
    file = as_original(network(**SD1), place)
    weights = load_file(file)
    save_file({name: value for name, value in weights.items() if "zero_convs" not in name}, file)
    return file


def a_checkpoint(place: Path) -> Path:
    """A whole model in one file."""
    return save_original(network(**SD1), place.with_suffix(".safetensors"), "model.diffusion_model.")


def half_a_file(place: Path) -> Path:
    file = as_file(network(**SD1), place)
    weights = load_file(file)
    save_file({name: value for name, value in weights.items() if "mid" not in name}, file)
    return file


def a_pickle(place: Path) -> Path:
    torch.save(network(**SD1).state_dict(), place.with_suffix(".pth"))
    return place.with_suffix(".pth")


def with_more_hints(place: Path) -> Path:
    return as_folder(network(**SD1, conditioning_channels=6), place)


def of_another_kind(place: Path) -> Path:
    folder = as_folder(network(**SD1), place)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_class_name": "ControlNetUnionModel"}))
    return folder


def emptied(place: Path) -> Path:
    folder = as_folder(network(**SD1), place)
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "save",
    [
        a_unet,
        without_weights,
        half_a_file,
        half_an_original,
        a_checkpoint,
        a_pickle,
        with_more_hints,
        of_another_kind,
        emptied,
        lambda place: tiny.save_tensors(place),
        lambda place: place / "missing",
    ],
    ids=[
        "a UNet",
        "a folder without some weights",
        "a file without some weights",
        "an original without some weights",
        "a checkpoint",
        "a pickle",
        "other hints",
        "a union of ControlNets",
        "an empty folder",
        "a file of something else",
        "nothing",
    ],
)
def test_what_is_no_controlnet_is_refused_with_a_sentence(
    tmp_path: Path, save: Callable[[Path], Path]
) -> None:
    place = save(tmp_path / "odd")

    with pytest.raises(GenerationFailed) as refused:
        load_controlnet("odd", place, ON_CPU)

    assert refused.value.detail == "ControlNet odd can't be loaded on the server."


def loaded(tmp_path: Path, net: ControlNetModel) -> LoadedControlNet:
    return load_controlnet("canny", as_folder(net, tmp_path / "canny"), ON_CPU)


def test_a_controlnet_fits_the_models_of_its_kind(tmp_path: Path) -> None:
    for family in (tiny.stable_diffusion, tiny.stable_diffusion_xl):
        pipeline = family()
        fitting = loaded(tmp_path, tiny.controlnet(pipeline.unet))

        require_fit(fitting, from_pipeline("tiny", pipeline))


def test_a_controlnet_that_hears_no_sizes_fits_sdxl(tmp_path: Path) -> None:
    pipeline = tiny.stable_diffusion_xl()
    plain = tiny.controlnet(pipeline.unet, addition_embed_type=None)

    require_fit(loaded(tmp_path, plain), from_pipeline("tiny", pipeline))


@pytest.mark.parametrize(
    "change",
    [
        {"cross_attention_dim": 64},
        {"block_out_channels": (16, 16)},
        {"layers_per_block": 2},
        {"in_channels": 8},
        {"conditioning_embedding_out_channels": (16, 32, 96)},
        {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 80,
        },
    ],
    ids=["words", "channels", "layers", "latents", "scale", "sizes"],
)
def test_a_controlnet_for_another_kind_of_model_does_not_fit(
    tmp_path: Path, model: LoadedModel, change: dict[str, Any]
) -> None:
    other = loaded(tmp_path, tiny.controlnet(model.unet, **change))

    with pytest.raises(GenerationFailed) as refused:
        require_fit(other, model)

    assert refused.value.detail == (
        "ControlNet canny does not fit model tiny: send a ControlNet that is made for models of its kind."
    )
