"""A picture as a prompt means what it means in diffusers, and no picture hears another's."""

import contextlib
import dataclasses
import gc
import shutil
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from shared.errors import GenerationFailed
from shared.ip_adapters import IP_ADAPTERS
from shared.jobs import LoraUse
from tests.support import tiny, tiny_ip_adapter
from tests.support.lora_files import diffusers_lora
from tests.support.painting import (
    assert_same,
    painted,
    request,
    sibling,
    stock_picture,
    submit,
)
from tests.support.tiny_finishing import drawing
from tests.support.waiting import wait_until
from worker.gpu.engine import Engine, Pixels
from worker.gpu.models.adapters import read_lora
from worker.gpu.models.ip_adapters import IpAdapter
from worker.gpu.models.ip_files import load_image_encoder, load_ip_weights
from worker.gpu.models.loaded import LoadedModel, from_pipeline
from worker.gpu.models.precision import Precision
from worker.gpu.painting import ImagePrompt, Kit, PictureRequest, SelfAttention

ON_CPU = Precision.choose("cpu", "fp32")
PLAIN, PLUS = "ip-adapter_sd15", "ip-adapter-plus-face_sd15"
PLAIN_XL, PLUS_XL = "ip-adapter_sdxl", "ip-adapter-plus_sdxl_vit-h"
FACE_XL = "ip-adapter-plus-face_sdxl_vit-h"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_ip_adapter.save_ip_adapters(tmp_path_factory.mktemp("ip_adapters"))


def fresh_pipeline(*, is_xl: bool) -> Any:
    return tiny.stable_diffusion_xl() if is_xl else tiny.stable_diffusion()


@cache
def tiny_model(*, is_xl: bool) -> LoadedModel:
    return from_pipeline("xl" if is_xl else "sd1", fresh_pipeline(is_xl=is_xl))


@pytest.fixture
def own_folder(folder: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(folder, tmp_path / "ip_adapters"))


@cache
def loaded(folder: Path, adapter_id: str) -> IpAdapter:
    weights = load_ip_weights(adapter_id, folder, ON_CPU)
    return IpAdapter(weights, load_image_encoder(adapter_id, folder, ON_CPU))


def kit_with(folder: Path, adapter_id: str, **changes: Any) -> Kit:
    model = tiny_model(is_xl=IP_ADAPTERS[adapter_id].is_xl)
    return dataclasses.replace(Kit.plain(model), ip_adapter=loaded(folder, adapter_id), **changes)


@cache
def picture(index: int = 0) -> Pixels:
    """Neither square nor of the encoder's size."""
    return np.array(drawing(index, 96))[:64]


def wanted(adapter_id: str, scale: float = 0.8, *, of: int = 0, **changes: Any) -> PictureRequest:
    return request(ip=ImagePrompt(scale, picture(of)), **changes)


def with_adapter(pipeline: Any, folder: Path, adapter_id: str) -> Any:
    """The stock pipeline, after diffusers has loaded the adapter from its files."""
    files = IP_ADAPTERS[adapter_id]
    subfolder, _, weight_name = files.weights.rpartition("/")
    pipeline.load_ip_adapter(
        str(folder), subfolder=subfolder, weight_name=weight_name, image_encoder_folder=files.image_encoder
    )
    return pipeline


@cache
def plain_stock(*, is_xl: bool) -> Any:
    return fresh_pipeline(is_xl=is_xl)


@cache
def stock(folder: Path, adapter_id: str) -> Any:
    return with_adapter(fresh_pipeline(is_xl=IP_ADAPTERS[adapter_id].is_xl), folder, adapter_id)


def in_diffusers(pipeline: Any, each: PictureRequest, **options: Any) -> Pixels:
    if each.ip is None:
        return stock_picture(pipeline, each)
    pipeline.set_ip_adapter_scale(each.ip.scale)
    return stock_picture(pipeline, each, ip_adapter_image=Image.fromarray(each.ip.pixels), **options)


@contextlib.contextmanager
def rows_of(network: torch.nn.Module) -> Iterator[list[int]]:
    """How many rows each of its forwards has."""
    rows: list[int] = []
    watch = network.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    yield rows
    watch.remove()


def apart(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(("scale", "guidance_scale"), [(0.3, 7.5), (1.0, 1.0)])
@pytest.mark.parametrize("adapter_id", IP_ADAPTERS)
def test_every_adapter_means_what_it_means_in_diffusers(
    engine: Engine, folder: Path, adapter_id: str, scale: float, guidance_scale: float
) -> None:
    kit, each = kit_with(folder, adapter_id), wanted(adapter_id, scale, guidance_scale=guidance_scale)

    made, without = painted(engine, kit, each), painted(engine, kit, dataclasses.replace(each, ip=None))

    assert_same(made, in_diffusers(stock(folder, adapter_id), each))
    assert apart(made, without) > 8


def test_a_scale_of_zero_is_no_image_prompt_at_all(engine: Engine, folder: Path) -> None:
    without = request()

    made = painted(engine, kit_with(folder, PLUS), without)

    assert_same(made, in_diffusers(stock(folder, PLUS), wanted(PLUS, 0.0)))
    assert_same(made, stock_picture(plain_stock(is_xl=False), without))


def test_a_distilled_model_hears_the_picture_in_its_only_row(engine: Engine, folder: Path) -> None:
    kit = dataclasses.replace(
        Kit.plain(from_pipeline("lcm", tiny.latent_consistency())), ip_adapter=loaded(folder, PLAIN)
    )
    pipeline = with_adapter(tiny.latent_consistency(), folder, PLAIN)
    each = wanted(PLAIN, scheduler="LCMScheduler", steps=4)

    assert_same(painted(engine, kit, each), in_diffusers(pipeline, each))


def test_a_crowd_of_other_adapters_pictures_scales_and_loras_hears_each_its_own(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    lora = diffusers_lora(tmp_path / "lora.safetensors", tiny.stable_diffusion().unet)
    with_lora = kit_with(folder, PLAIN, loras=(read_lora("lora", lora),))
    stock_with_lora = tiny.stable_diffusion()
    stock_with_lora.load_lora_weights(str(lora), adapter_name="lora")
    stock_with_lora.set_adapters(["lora"], [0.7])
    with_adapter(stock_with_lora, folder, PLAIN)
    uses = (LoraUse(lora_id="lora", strength=0.7),)
    plain, plus, none = kit_with(folder, PLAIN), kit_with(folder, PLUS), Kit.plain(tiny_model(is_xl=False))
    crowd: list[tuple[Kit, PictureRequest, Any]] = [
        (none, request(), plain_stock(is_xl=False)),
        (plain, wanted(PLAIN, 0.3), stock(folder, PLAIN)),
        (plus, wanted(PLUS, 0.9, steps=7), stock(folder, PLUS)),
        (plain, wanted(PLAIN, 1.0, of=1, guidance_scale=1.0), stock(folder, PLAIN)),
        (with_lora, wanted(PLAIN, 0.6, loras=uses, steps=6), stock_with_lora),
        (none, request(seed=2, steps=9), plain_stock(is_xl=False)),
        (plain, wanted(PLAIN, 0.5, seed=3, width=96), stock(folder, PLAIN)),
        (plain, request(seed=4), plain_stock(is_xl=False)),
    ]

    renderings = [submit(engine, kit, each, each) for kit, each, _ in crowd]

    for (_, each, pipeline), rendering in zip(crowd, renderings, strict=True):
        for made in rendering.result():
            assert_same(made.develop(), in_diffusers(pipeline, each))


def test_an_sdxl_crowd_hears_each_its_own(engine: Engine, folder: Path) -> None:
    plain, plus, face = (kit_with(folder, adapter_id) for adapter_id in (PLAIN_XL, PLUS_XL, FACE_XL))
    crowd: list[tuple[Kit, PictureRequest, Any]] = [
        (plain, wanted(PLAIN_XL, 0.4, negative_prompt=None), stock(folder, PLAIN_XL)),
        (plus, wanted(PLUS_XL, 0.7, of=1), stock(folder, PLUS_XL)),
        (face, wanted(FACE_XL, 0.7, of=1), stock(folder, FACE_XL)),
        (plus, request(seed=5), plain_stock(is_xl=True)),
        (plain, wanted(PLAIN_XL, 1.0, of=1, steps=7), stock(folder, PLAIN_XL)),
    ]

    renderings = [submit(engine, kit, each) for kit, each, _ in crowd]

    for (_, each, pipeline), rendering in zip(crowd, renderings, strict=True):
        assert_same(rendering.result()[0].develop(), in_diffusers(pipeline, each))


def test_pictures_of_one_adapter_share_forwards_whatever_their_scales(engine: Engine, folder: Path) -> None:
    kit = kit_with(folder, PLAIN)
    requests = [wanted(PLAIN, scale, of=index) for index, scale in enumerate((0.2, 0.6, 1.0))]
    painted(engine, kit, requests[0])  # measures the forwards of this size

    with rows_of(kit.model.unet) as rows:
        submit(engine, kit, *requests).result()

    assert rows == [6] * requests[0].sampling.steps


@pytest.mark.parametrize("is_xl", [False, True], ids=["sd1", "sdxl"])
def test_pictures_without_an_adapter_are_to_the_bit_what_they_were_before_one_came(
    engine: Engine, folder: Path, is_xl: bool
) -> None:
    never, used = (from_pipeline(name, fresh_pipeline(is_xl=is_xl)) for name in ("never", "used"))
    adapter = loaded(folder, PLUS_XL if is_xl else PLUS)
    kit = dataclasses.replace(Kit.plain(used), ip_adapter=adapter)
    plain = request(deterministic=True, steps=8)

    expected = painted(engine, Kit.plain(never), plain)
    beside = submit(
        engine, kit, wanted(adapter.adapter_id), plain, wanted(adapter.adapter_id, seed=2)
    ).result()

    assert beside[1].develop().tobytes() == expected.tobytes()
    assert painted(engine, kit, plain).tobytes() == expected.tobytes()


def test_deterministic_pictures_are_bit_identical_whatever_runs_beside_them(
    engine: Engine, folder: Path
) -> None:
    kit = kit_with(folder, PLUS)
    each = wanted(PLUS, deterministic=True)
    alone = painted(engine, kit, each)

    crowd = submit(engine, kit, *[wanted(PLUS, seed=seed, of=1) for seed in range(4)])
    in_company = submit(engine, kit, wanted(PLUS, 0.2), each, request()).result()
    crowd.result()

    assert in_company[1].develop().tobytes() == alone.tobytes()


def test_deterministic_pictures_are_seen_alone(engine: Engine, folder: Path) -> None:
    kit = kit_with(folder, PLUS)
    requests = [wanted(PLUS, of=index, deterministic=True) for index in range(3)]

    with rows_of(loaded(folder, PLUS).encoder.network) as rows:
        submit(engine, kit, *requests).result()

    assert rows == [2, 2, 2]  # each with the black one that the negative prompt's row hears


@pytest.mark.parametrize("guidance_scale", [7.5, 1.0])
def test_perturbed_attention_guidance_hears_the_picture(
    engine: Engine, folder: Path, guidance_scale: float
) -> None:
    kind = diffusers.StableDiffusionPAGPipeline
    pipeline = sibling(kind, stock(folder, PLUS), pag_applied_layers="mid")
    each = wanted(PLUS, self_attention=SelfAttention.PAG, guidance_scale=guidance_scale)

    made = painted(engine, kit_with(folder, PLUS), each)

    assert_same(made, in_diffusers(pipeline, each, pag_scale=3.0))


def test_self_attention_guidance_hears_the_picture(engine: Engine, folder: Path) -> None:
    """At guidance 1; above it, the stock pipeline hands the picture's tokens to the wrong rows."""
    pipeline = sibling(diffusers.StableDiffusionSAGPipeline, stock(folder, PLAIN))
    each = wanted(PLAIN, self_attention=SelfAttention.SAG, scheduler="DDIMScheduler", guidance_scale=1.0)

    made = painted(engine, kit_with(folder, PLAIN), each)

    assert_same(made, in_diffusers(pipeline, each, sag_scale=0.75))


def test_a_compiled_model_makes_the_same_picture(engine: Engine, folder: Path) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.unet.compile_repeated_blocks(backend="eager")
    model = from_pipeline("compiled", pipeline, compiled=True)
    kit = dataclasses.replace(Kit.plain(model), ip_adapter=loaded(folder, PLAIN))

    made = painted(engine, kit, wanted(PLAIN))

    assert_same(made, painted(engine, kit_with(folder, PLAIN), wanted(PLAIN)))


def test_what_is_heard_of_pictures_is_padded_with_the_rows_of_a_compiled_model(
    engine: Engine, folder: Path
) -> None:
    model = from_pipeline("padded", tiny.stable_diffusion(), compiled=True)
    kit = dataclasses.replace(Kit.plain(model), ip_adapter=loaded(folder, PLAIN))
    requests = [wanted(PLAIN), wanted(PLAIN, 0.2, seed=2), wanted(PLAIN, seed=3)]

    with rows_of(model.unet) as rows:
        made = submit(engine, kit, *requests).result()

    assert rows == [2, *[8] * (requests[0].sampling.steps - 1), 4]
    for each, one in zip(requests, made, strict=True):
        assert_same(one.develop(), painted(engine, kit_with(folder, PLAIN), each))


def test_a_picture_that_was_cropped_before_means_the_same(engine: Engine, folder: Path) -> None:
    kit, whole = kit_with(folder, PLAIN), wanted(PLAIN)
    cropped = loaded(folder, PLAIN).encoder.cropped(picture())

    made = painted(engine, kit, dataclasses.replace(whole, ip=ImagePrompt(0.8, cropped)))

    assert cropped.shape == (tiny_ip_adapter.SIDE, tiny_ip_adapter.SIDE, 3)
    assert made.tobytes() == painted(engine, kit, whole).tobytes()


@pytest.mark.parametrize(
    ("adapter_id", "is_xl", "sentence"),
    [
        (PLAIN_XL, False, "is for SDXL; this model is not: send one of ip-adapter_sd15"),
        (PLUS, True, "is not for SDXL; this model is: send one of ip-adapter_sdxl"),
    ],
    ids=["of SDXL", "not of SDXL"],
)
def test_an_adapter_of_another_family_fails_its_job_and_no_other(
    engine: Engine, folder: Path, adapter_id: str, is_xl: bool, sentence: str
) -> None:
    kit = Kit.plain(tiny_model(is_xl=is_xl))
    misfit = dataclasses.replace(kit, ip_adapter=loaded(folder, adapter_id))
    bad, good = submit(engine, misfit, wanted(adapter_id)), submit(engine, kit, request())

    with pytest.raises(GenerationFailed, match=sentence):
        bad.result()
    assert_same(good.result()[0].develop(), stock_picture(plain_stock(is_xl=is_xl), request()))


def test_an_adapter_of_other_widths_fails_its_job(engine: Engine, own_folder: Path) -> None:
    (own_folder / IP_ADAPTERS[PLAIN_XL].weights).rename(own_folder / IP_ADAPTERS[PLAIN].weights)
    weights = load_ip_weights(PLAIN, own_folder, ON_CPU)
    adapter = IpAdapter(weights, load_image_encoder(PLAIN, own_folder, ON_CPU))
    kit = dataclasses.replace(Kit.plain(tiny_model(is_xl=False)), ip_adapter=adapter)

    with pytest.raises(GenerationFailed, match="does not fit this model: leave ip_adapter_id out"):
        painted(engine, kit, wanted(PLAIN))


def without_a_tensor(file: Path, name: str) -> None:
    tensors = load_file(file)
    del tensors[name]
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda file: file.write_bytes(b"not one"), id="no safetensors"),
        pytest.param(tiny.save_tensors, id="of nothing known"),
        pytest.param(lambda file: without_a_tensor(file, "image_proj.norm.weight"), id="no norm"),
        pytest.param(lambda file: without_a_tensor(file, "ip_adapter.1.to_v_ip.weight"), id="no value"),
    ],
)
def test_weights_that_are_not_whole_are_refused_with_a_sentence(
    own_folder: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(own_folder / IP_ADAPTERS[PLAIN].weights)

    with pytest.raises(GenerationFailed, match="IP-Adapter ip-adapter_sd15 can't be loaded"):
        load_ip_weights(PLAIN, own_folder, ON_CPU)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda file: file.write_bytes(b"not one"), id="no safetensors"),
        pytest.param(lambda file: file.unlink(), id="no weights"),
        pytest.param(lambda file: without_a_tensor(file, "visual_projection.weight"), id="not whole"),
    ],
)
def test_an_image_encoder_that_is_not_whole_is_refused_with_a_sentence(
    own_folder: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(own_folder / IP_ADAPTERS[PLAIN].image_encoder / "model.safetensors")

    with pytest.raises(GenerationFailed, match="The image encoder of IP-Adapter ip-adapter_sd15 can't be"):
        load_image_encoder(PLAIN, own_folder, ON_CPU)


@pytest.mark.parametrize("load", [load_ip_weights, load_image_encoder])
def test_an_adapter_whose_files_are_not_there_is_refused_with_what_lacks(
    own_folder: Path, load: Callable[..., object]
) -> None:
    (own_folder / IP_ADAPTERS[PLUS].weights).unlink()

    with pytest.raises(GenerationFailed, match="plus-face_sd15 lacks files on this server"):
        load(PLUS, own_folder, ON_CPU)


def test_weights_are_in_the_workers_number_format_and_measured(folder: Path) -> None:
    half = Precision.choose("cpu", "bf16")

    weights, encoder = load_ip_weights(PLUS, folder, half), load_image_encoder(PLUS, folder, half)

    assert weights.layers[0][0].dtype is torch.bfloat16
    assert 2 * weights.bytes == loaded(folder, PLUS).weights.bytes
    assert 2 * encoder.bytes == loaded(folder, PLUS).encoder.bytes


def test_an_adapter_is_let_go_with_the_last_picture_that_used_it(engine: Engine, folder: Path) -> None:
    model = tiny_model(is_xl=False)
    weights = load_ip_weights(PLAIN, folder, ON_CPU)
    kit = dataclasses.replace(Kit.plain(model), ip_adapter=IpAdapter(weights, loaded(folder, PLAIN).encoder))

    painted(engine, kit, wanted(PLAIN))
    alive, kept = weakref.ref(weights), weakref.ref(weights.layers[0][0])
    del kit, weights

    wait_until(lambda: gc.collect() >= 0 and alive() is None and kept() is None)
