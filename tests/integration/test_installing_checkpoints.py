"""Checkpoints in one file become folders, and every weight of them is the one it was."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from shared.registry import ModelKind
from tests.support import tiny, tiny_flux
from tests.support.hub import running_hub
from tests.support.installing import Workshop, from_path, from_url
from tests.support.model_files import (
    FilePage,
    flux_transformer_original,
    original,
    prefixed,
    save_checkpoint,
    vae_original,
)
from tests.support.site import running_site
from worker.gpu.flux.loading import is_flux, load_flux
from worker.gpu.installing.json_files import change_json
from worker.gpu.models.loading import Tuning, load_checkpoint, load_vae
from worker.gpu.models.precision import Precision

ON_CPU = Precision.choose("cpu", "fp32")
CHECKPOINT = ModelKind.CHECKPOINT


def deep() -> diffusers.StableDiffusionPipeline:
    """With as many blocks as the real ones, so that their numbers have two digits."""
    pipeline = tiny.stable_diffusion()
    shape = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=2,
        cross_attention_dim=tiny.WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    pipeline.register_modules(unet=shape.eval())
    return pipeline


FAMILIES: dict[str, Callable[[], diffusers.DiffusionPipeline]] = {
    **tiny.FAMILIES,
    "flux": tiny_flux.flux,
    "deep sd1": deep,
}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def with_configs(workshop: Workshop, pipeline: diffusers.DiffusionPipeline) -> str:
    """Puts the pipeline's configs, and nothing else, below the models folder; tells where."""
    folder = workshop.models / "configs" / "described"
    pipeline.save_pretrained(folder, safe_serialization=True)
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    return "configs/described"


def assert_equal(found: nn.Module, expected: nn.Module, dtype: torch.dtype = torch.float32) -> None:
    there, wanted = found.state_dict(), expected.state_dict()
    assert there.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(there[name], tensor.to(dtype).float()), name


def networks(pipeline: diffusers.DiffusionPipeline) -> dict[str, nn.Module]:
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


def as_served(place: Path) -> diffusers.DiffusionPipeline:
    """As the worker reads it, on the CPU."""
    if is_flux(place):
        return load_flux("loaded", place, ON_CPU).pipeline
    return load_checkpoint("loaded", place, ON_CPU, Tuning()).pipeline


def assert_same_pipeline(
    place: Path, expected: diffusers.DiffusionPipeline, dtype: torch.dtype = torch.float32
) -> None:
    loaded = as_served(place)
    for name, part in expected.components.items():
        if isinstance(part, nn.Module):
            assert_equal(getattr(loaded, name), part, dtype)
    assert loaded.tokenizer("a cat").input_ids == expected.tokenizer("a cat").input_ids
    assert public(loaded.scheduler.config) == public(expected.scheduler.config)


def public(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if not name.startswith("_")}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("revision", ["", "fp16"])
def test_a_file_with_the_original_names_becomes_the_pipeline_that_it_was_made_from(
    workshop: Workshop, tmp_path: Path, family: str, revision: str
) -> None:
    pipeline = FAMILIES[family]()
    file = save_checkpoint(pipeline, tmp_path / "file.safetensors")
    config = with_configs(workshop, pipeline)
    with running_site({"/file": FilePage(file.read_bytes())}) as site:
        spec = from_url(CHECKPOINT, f"{site.url}/file", config=config, revision=revision)
        entry = workshop.install(spec)

    assert_same_pipeline(
        workshop.installer.place_of(entry), pipeline, torch.float16 if revision else torch.float32
    )
    assert (entry.family, entry.revision, entry.path) == (family.split()[-1], revision or "fp32", "model")


def test_a_file_in_half_precision_stays_so(workshop: Workshop) -> None:
    pipeline = tiny.stable_diffusion()
    save_checkpoint(pipeline, workshop.models / "half.safetensors", half=True)

    entry = workshop.install(
        from_path(CHECKPOINT, "half.safetensors", config=with_configs(workshop, pipeline))
    )

    place = workshop.installer.place_of(entry)
    weights = load_file(place / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert entry.revision == "fp16"
    assert_same_pipeline(place, pipeline, torch.float16)
    assert (workshop.models / "half.safetensors").exists()


def test_the_last_layer_of_a_later_text_encoder_is_left_out_as_in_training(workshop: Workshop) -> None:
    """Stable Diffusion 2.x listens to the last layer but one: its config has one less than its file."""
    pipeline = tiny.FAMILIES["sd2"]()
    config = pipeline.text_encoder.config.to_dict() | {"num_hidden_layers": 24}
    whole = type(pipeline.text_encoder)(type(pipeline.text_encoder.config)(**config))
    listening = type(whole)(type(whole.config)(**config | {"num_hidden_layers": 23}))
    listening.load_state_dict(whole.state_dict(), strict=False)
    pipeline.register_modules(text_encoder=whole)
    save_checkpoint(pipeline, workshop.models / "sd2.safetensors")
    pipeline.register_modules(text_encoder=listening)

    place = workshop.place(from_path(CHECKPOINT, "sd2.safetensors", config=with_configs(workshop, pipeline)))

    assert_same_pipeline(place, pipeline)


def test_names_that_lack_the_text_models_are_read_too(workshop: Workshop) -> None:
    pipeline = tiny.stable_diffusion()
    short = {
        name.replace("transformer.text_model.", "transformer."): t for name, t in original(pipeline).items()
    }
    save_file(short, workshop.models / "old.safetensors")

    place = workshop.place(from_path(CHECKPOINT, "old.safetensors", config=with_configs(workshop, pipeline)))

    assert_same_pipeline(place, pipeline)


SD1_CONFIGS = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def test_configs_come_from_the_hub_once_and_without_weights(tmp_path: Path) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(tmp_path / "repo", safe_serialization=True)
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    change_json(tmp_path / "repo" / "model_index.json", safety_checker=checker)
    with running_hub({SD1_CONFIGS: tmp_path / "repo"}) as hub:
        workshop = Workshop(tmp_path, hub_url=hub.url)
        save_checkpoint(pipeline, workshop.models / "sd1.safetensors")
        workshop.install(from_path(CHECKPOINT, "sd1.safetensors"))
        asked = len(hub.requests)
        place = workshop.place(from_path(CHECKPOINT, "sd1.safetensors"))

    assert_same_pipeline(place, pipeline)
    assert json.loads((place / "model_index.json").read_text())["safety_checker"] == [None, None]
    assert len(hub.requests) == asked
    assert {Path(name).suffix for name in hub.fetched(SD1_CONFIGS)} <= {".json", ".txt"}


def test_without_a_hub_the_client_is_told_to_send_the_config(workshop: Workshop) -> None:
    save_checkpoint(tiny.stable_diffusion(), workshop.models / "sd1.safetensors")

    sentence = workshop.refusal(from_path(CHECKPOINT, "sd1.safetensors"))

    assert sentence == (
        f"its configs can't be had from {SD1_CONFIGS} (the hub can't be reached): send in config the hub id, "
        "or the path below the models folder, of a model in diffusers' layout that is built like this one."
    )


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_a_model_of_unusual_shape_needs_a_config(workshop: Workshop, family: str) -> None:
    save_checkpoint(FAMILIES[family](), workshop.models / "odd.safetensors")

    sentence = workshop.refusal(from_path(CHECKPOINT, "odd.safetensors"))

    assert sentence.startswith("it is built like no model that is known here: send in config")


def test_a_config_of_another_model_is_refused(workshop: Workshop) -> None:
    save_checkpoint(tiny.stable_diffusion(), workshop.models / "sd1.safetensors")
    config = with_configs(workshop, tiny.stable_diffusion(words_width=64))

    sentence = workshop.refusal(from_path(CHECKPOINT, "sd1.safetensors", config=config))

    assert sentence.startswith("its text_encoder is not what the config describes: send in config")


def test_a_file_that_lacks_weights_is_refused(workshop: Workshop) -> None:
    pipeline = tiny.stable_diffusion()
    weights = original(pipeline)
    del weights["model.diffusion_model.middle_block.1.norm.bias"]
    save_file(weights, workshop.models / "holed.safetensors")

    sentence = workshop.refusal(
        from_path(CHECKPOINT, "holed.safetensors", config=with_configs(workshop, pipeline))
    )

    assert sentence.startswith("its unet is not what the config describes")


@pytest.mark.parametrize("origin", ["hub", "folder"])
def test_parts_that_a_file_lacks_come_with_their_weights_from_where_its_config_is(
    tmp_path: Path, origin: str
) -> None:
    pipeline = tiny_flux.flux()
    folder = tmp_path / "data" / "models" / "whole"
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size="60KB")
    alone = flux_transformer_original(pipeline.transformer)
    save_file(prefixed("", alone), folder.parent / "flux.safetensors")
    with running_hub({"someone/flux": folder}) as hub:
        workshop = Workshop(tmp_path, hub_url=hub.url)
        config = "someone/flux" if origin == "hub" else "whole"
        place = workshop.place(from_path(CHECKPOINT, "flux.safetensors", config=config))

    assert_same_pipeline(place, pipeline)
    assert not any(name.startswith("transformer/diff") for name in hub.fetched("someone/flux"))


def test_parts_that_are_nowhere_are_told(workshop: Workshop) -> None:
    pipeline = tiny.stable_diffusion()
    weights = {name: t for name, t in original(pipeline).items() if not name.startswith("first_stage")}
    save_file(weights, workshop.models / "pruned.safetensors")

    sentence = workshop.refusal(
        from_path(CHECKPOINT, "pruned.safetensors", config=with_configs(workshop, pipeline))
    )

    assert sentence.startswith("it holds no vae, and neither does the config: send in config")


def test_eight_bit_weights_are_widened_and_quantised_ones_refused(workshop: Workshop) -> None:
    pipeline = tiny_flux.flux()
    config = with_configs(workshop, pipeline)
    weights = {name: t.to(torch.float8_e4m3fn) for name, t in original(pipeline).items()}
    save_file(weights, workshop.models / "eight.safetensors")
    save_file(
        weights | {"model.diffusion_model.img_in.scale_weight": torch.ones(1)},
        workshop.models / "scaled.safetensors",
    )

    place = workshop.place(from_path(CHECKPOINT, "eight.safetensors", config=config))
    sentence = workshop.refusal(from_path(CHECKPOINT, "scaled.safetensors", config=config))

    stored = load_file(place / "transformer" / "diffusion_pytorch_model.safetensors")
    expected = pipeline.transformer.x_embedder.weight.to(torch.float8_e4m3fn).bfloat16()
    assert torch.equal(stored["x_embedder.weight"], expected)
    assert sentence == "its weights are quantised: send the model in fp16, bf16 or fp32."


def test_attention_in_full_precision_and_another_noise_are_written_into_the_configs(
    workshop: Workshop,
) -> None:
    pipeline = tiny.stable_diffusion()
    marked = original(pipeline) | {"v_pred": torch.ones(1), "ztsnr": torch.ones(1)}
    save_file(marked, workshop.models / "marked.safetensors")

    place = workshop.place(
        from_path(
            CHECKPOINT,
            "marked.safetensors",
            config=with_configs(workshop, pipeline),
            upcast_attention=True,
        )
    )

    served = as_served(place)
    assert served.unet.config.upcast_attention
    assert served.scheduler.config.prediction_type == "v_prediction"
    noise = json.loads((place / "scheduler" / "scheduler_config.json").read_text())
    assert noise["rescale_betas_zero_snr"]


def usual_vae(**options: Any) -> diffusers.AutoencoderKL:
    """With norms in 32 groups, as all real ones have."""
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=(32, 32, 64),
        layers_per_block=2,
        latent_channels=options.pop("latent_channels", 4),
        **options,
    ).eval()


VAE_NAMES: dict[str, Callable[[diffusers.AutoencoderKL], dict[str, torch.Tensor]]] = {
    "original": lambda vae: prefixed("", vae_original(vae)),
    "of a checkpoint": lambda vae: prefixed("first_stage_model.", vae_original(vae)),
    "of diffusers": lambda vae: vae.state_dict(),
}


@pytest.mark.parametrize("names", VAE_NAMES.values(), ids=VAE_NAMES)
def test_a_vae_in_one_file_becomes_a_folder_by_its_shapes(
    workshop: Workshop, names: Callable[[diffusers.AutoencoderKL], dict[str, torch.Tensor]]
) -> None:
    vae = usual_vae()
    save_file(names(vae), workshop.models / "vae.safetensors")

    loaded = load_vae("loaded", workshop.place(from_path(ModelKind.VAE, "vae.safetensors")), ON_CPU)

    assert_equal(loaded, vae)
    assert loaded.config.scaling_factor == 0.18215


def test_a_vae_takes_its_scale_from_its_name_or_its_channels_or_a_config(workshop: Workshop) -> None:
    xl, flux = usual_vae(), usual_vae(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False)
    save_file(prefixed("", vae_original(xl)), workshop.models / "sdxl-vae.safetensors")
    save_file(prefixed("", vae_original(flux)), workshop.models / "ae.safetensors")
    own = tiny.vae()
    save_file(prefixed("", vae_original(own)), workshop.models / "own.safetensors")
    own.save_config(workshop.models / "described")

    places = {
        name: workshop.place(from_path(ModelKind.VAE, f"{name}.safetensors", config=config))
        for name, config in (("sdxl-vae", ""), ("ae", ""), ("own", "described"))
    }

    found = {name: load_vae(name, place, ON_CPU) for name, place in places.items()}
    assert found["sdxl-vae"].config.scaling_factor == 0.13025
    assert (found["ae"].config.scaling_factor, found["ae"].config.shift_factor) == (0.3611, 0.1159)
    for name, vae in (("sdxl-vae", xl), ("ae", flux), ("own", own)):
        assert_equal(found[name], vae)
