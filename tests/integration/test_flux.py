"""Flux pictures equal those of diffusers' own pipelines, alone and in company, from text and pictures."""

import dataclasses
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file

from shared.errors import Cancelled, GenerationFailed
from shared.jobs import LoraUse
from shared.schedulers import SCHEDULERS
from tests.support import tiny
from tests.support.flux_painting import (
    FLOW_SCHEDULERS,
    flux_request,
    painted_flux,
    start,
    stock_flux_picture,
    submit_flux,
)
from tests.support.lora_files import transformer_lora
from tests.support.painting import assert_same, in_mixed_company
from tests.support.tiny_finishing import ALWAYS, image_processor, safety_checker
from tests.support.tiny_flux import flux, save_flux
from tests.support.waiting import wait_until
from worker.gpu.engine import Engine, Pixels
from worker.gpu.enlarging.resizing import resize_to
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.flux import FluxKit, FluxRequest, LoadedFlux, is_flux, load_flux
from worker.gpu.flux.loaded import from_pipeline
from worker.gpu.models.adapters import Lora, read_lora
from worker.gpu.models.loading import bytes_on_disk
from worker.gpu.models.precision import Precision
from worker.gpu.schedulers import Sampling

MODELS: dict[str, Callable[[], FluxPipeline]] = {
    "dev": lambda: flux(guidance_embeds=True),
    "schnell": lambda: flux(guidance_embeds=False),
}
GUIDED: dict[str, Any] = {"negative_prompt": "blurry", "true_cfg_scale": 4.0}
CPU = Precision.choose("cpu", "fp32")


@pytest.fixture(scope="module", params=MODELS)
def pipeline(request: pytest.FixtureRequest) -> FluxPipeline:
    return MODELS[request.param]()


@pytest.fixture(scope="module")
def dev() -> FluxPipeline:
    return MODELS["dev"]()


@pytest.fixture
def kit(pipeline: FluxPipeline) -> FluxKit:
    return FluxKit(from_pipeline("tiny", pipeline))


@pytest.fixture
def dev_kit(dev: FluxPipeline) -> FluxKit:
    return FluxKit(from_pipeline("dev", dev))


@pytest.mark.parametrize("scheduler", FLOW_SCHEDULERS)
@pytest.mark.parametrize("begin", [None, start()], ids=["text", "picture"])
def test_a_lone_picture_equals_the_stock_pipelines(
    engine: Engine, kit: FluxKit, pipeline: FluxPipeline, scheduler: str, begin: Any
) -> None:
    wanted = flux_request(scheduler=scheduler, steps=7, start=begin)

    assert_same(painted_flux(engine, kit, wanted), stock_flux_picture(pipeline, wanted))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(GUIDED, id="true guidance"),
        pytest.param(GUIDED | {"start": start()}, id="true guidance from a picture"),
        pytest.param({"negative_prompt": "", "true_cfg_scale": 4.0}, id="empty negative prompt"),
        pytest.param({"negative_prompt": "blurry"}, id="negative prompt without its scale"),
        pytest.param({"true_cfg_scale": 4.0}, id="scale without a negative prompt"),
        pytest.param({"width": 96, "height": 48}, id="not square"),
        pytest.param(
            {"width": 48, "height": 96, "start": start(width=48, height=96)}, id="not square, picture"
        ),
        pytest.param({"start": start(1.0)}, id="whole strength"),
        pytest.param({"start": start(0.01)}, id="hardly any strength"),
        pytest.param({"steps": 1}, id="one step"),
        pytest.param({"prompt": "words " * 40}, id="longer than both encoders read"),
        pytest.param({"sampling": Sampling("EulerDiscreteScheduler", 6, karras=True)}, id="karras"),
        pytest.param(
            {"sampling": Sampling("DPMSolverMultistepScheduler", 6, algorithm="sde-dpmsolver++")}, id="sde"
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Token indices sequence length")
def test_every_choice_equals_the_stock_pipelines(
    engine: Engine, kit: FluxKit, pipeline: FluxPipeline, changes: dict[str, Any]
) -> None:
    wanted = flux_request(**changes)

    assert_same(painted_flux(engine, kit, wanted), stock_flux_picture(pipeline, wanted))


def test_pictures_in_mixed_company_equal_the_stock_pipelines(
    engine: Engine, kit: FluxKit, pipeline: FluxPipeline
) -> None:
    """Other steps, guidance, samplers, prompts, sizes and starts, joining while others run."""
    wanted = [
        flux_request(
            prompt=f"a blue star {index}",
            steps=4 + index % 5,
            guidance_scale=(1.0, 3.5, 7.0)[index % 3],
            scheduler=FLOW_SCHEDULERS[index % len(FLOW_SCHEDULERS)],
            seed=100 + index,
            width=64 if index % 4 else 96,
            start=start() if index % 4 == 1 else None,
            **(GUIDED if index % 3 == 2 else {}),
        )
        for index in range(18)
    ]

    expected = [stock_flux_picture(pipeline, each) for each in wanted]

    made = in_mixed_company(partial(submit_flux, engine, kit), wanted)

    for ours, theirs in zip(made, expected, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("scheduler", FLOW_SCHEDULERS)
def test_a_start_of_no_strength_stays_as_it_is(engine: Engine, dev_kit: FluxKit, scheduler: str) -> None:
    requests = [
        flux_request(start=start(0.0), scheduler=scheduler, prompt=prompt, guidance_scale=scale)
        for prompt, scale in (("a red circle", 3.5), ("a blue star", 9.0))
    ]

    made = [painted_flux(engine, dev_kit, each) for each in requests]

    stock = stock_round_trip(dev_kit, start().pixels, seed=1)
    for each in made:
        assert_same(each, stock)


def stock_round_trip(kit: FluxKit, pixels: Pixels, seed: int) -> Pixels:
    """What the autoencoder makes of a picture."""
    processor = kit.model.pipeline.image_processor
    with torch.inference_mode():
        drawn_from = kit.vae.encode(processor.preprocess(pixels[None] / 255.0).float()).latent_dist
        decoded = kit.vae.decode(drawn_from.sample(torch.Generator().manual_seed(seed))).sample
    made: Pixels = (processor.postprocess(decoded, "np")[0] * 255).round().astype(np.uint8)
    return made


def test_pictures_are_checked_and_enlarged_like_all_others(engine: Engine, dev_kit: FluxKit) -> None:
    checker = SafetyChecker(safety_checker(ALWAYS), image_processor())
    kit = dataclasses.replace(dev_kit, checker=checker)
    wanted = flux_request(width=72, safety_checker=True, upscale=True, deterministic=True)
    plain = dataclasses.replace(wanted, safety_checker=False, upscale=False)

    made, unchecked = (submit_flux(engine, kit, each).result()[0] for each in (wanted, plain))

    assert made.is_sensitive is True
    assert unchecked.is_sensitive is None
    small = unchecked.develop()
    assert (made.develop() == resize_to(small, (2 * small.shape[1], 2 * small.shape[0]))).all()


def test_in_bf16_a_lone_picture_equals_the_stock_pipelines(engine: Engine) -> None:
    pipeline = flux().to(torch.bfloat16)
    kit = FluxKit(from_pipeline("bf16", pipeline))
    wanted = flux_request(steps=7)

    assert_same(painted_flux(engine, kit, wanted), stock_flux_picture(pipeline, wanted))


def test_guidance_is_heard_by_models_that_were_distilled_with_it(
    engine: Engine, kit: FluxKit, pipeline: FluxPipeline
) -> None:
    weak = painted_flux(engine, kit, flux_request(guidance_scale=1.0))
    strong = painted_flux(engine, kit, flux_request(guidance_scale=9.0))

    assert (weak != strong).any() == pipeline.transformer.config.guidance_embeds


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name not in FLOW_SCHEDULERS])
def test_a_sampler_without_a_form_for_flows_runs_as_eulers_method(
    engine: Engine, dev_kit: FluxKit, scheduler: str
) -> None:
    euler = painted_flux(engine, dev_kit, flux_request(deterministic=True))

    made = painted_flux(engine, dev_kit, flux_request(deterministic=True, scheduler=scheduler))

    assert made.tobytes() == euler.tobytes()


@pytest.mark.parametrize("begins_with_a_picture", [False, True])
def test_a_size_between_two_patches_is_the_middle_of_the_next_larger_one(
    engine: Engine, dev_kit: FluxKit, dev: FluxPipeline, begins_with_a_picture: bool
) -> None:
    given = start(width=72, height=56) if begins_with_a_picture else None
    wanted = flux_request(width=72, height=56, start=given)

    made = painted_flux(engine, dev_kit, wanted)

    larger = dataclasses.replace(wanted, width=80, height=64)
    if given:
        stretched = np.pad(given.pixels, ((4, 4), (4, 4), (0, 0)), mode="edge")
        larger = dataclasses.replace(larger, start=dataclasses.replace(given, pixels=stretched))
    assert_same(made, stock_flux_picture(dev, larger)[4:60, 4:76])


def test_deterministic_pictures_are_bit_identical_whatever_runs_beside_them(
    engine: Engine, kit: FluxKit
) -> None:
    wanted = flux_request(deterministic=True, upscale=True, start=start(0.9), **GUIDED)
    alone = painted_flux(engine, kit, wanted)

    crowd = [submit_flux(engine, kit, flux_request(seed=seed, steps=9)) for seed in range(6)]
    in_company = submit_flux(engine, kit, wanted, flux_request(seed=9), wanted).result()

    assert in_company[0].develop().tobytes() == alone.tobytes()
    assert in_company[2].develop().tobytes() == alone.tobytes()
    for rendering in crowd:
        rendering.result()


class Watched:
    """A model's transformer with something done before each forward; counts the rows of every forward."""

    def __init__(self, model: LoadedFlux, before: Callable[[torch.Tensor], object]) -> None:
        self._transformer, self._before = model.transformer, before
        self.config = model.transformer.config
        self.rows: list[int] = []

    def __call__(self, hidden_states: torch.Tensor, **options: Any) -> Any:
        self.rows.append(len(hidden_states))
        self._before(hidden_states)
        return self._transformer(hidden_states, **options)


def watched(kit: FluxKit, before: Callable[[torch.Tensor], object]) -> tuple[FluxKit, Watched]:
    transformer = Watched(kit.model, before)
    return dataclasses.replace(
        kit, model=dataclasses.replace(kit.model, transformer=transformer)
    ), transformer


def rows_of(engine: Engine, kit: FluxKit, *crowd: FluxRequest) -> list[int]:
    """Rows of each forward when all of `crowd` wait at the moment when the first forward ends."""
    gate = threading.Event()
    kit, transformer = watched(kit, lambda _: gate.wait(10))
    renderings = [submit_flux(engine, kit, crowd[0])]
    wait_until(lambda: transformer.rows)
    renderings += [submit_flux(engine, kit, each) for each in crowd[1:]]
    gate.set()
    for rendering in renderings:
        rendering.result()
    return transformer.rows


def test_pictures_with_other_steps_guidance_samplers_and_starts_share_forwards(
    engine: Engine, dev_kit: FluxKit
) -> None:
    painted_flux(engine, dev_kit, flux_request())  # so that the memory of this size is known

    rows = rows_of(
        engine,
        dev_kit,
        flux_request(steps=3, negative_prompt="not heard, so it takes no row"),
        flux_request(steps=6, guidance_scale=7.0, scheduler="UniPCMultistepScheduler"),
        flux_request(steps=8, start=start(0.5), **GUIDED),
    )

    assert rows == [1, 4, 4, 3, 3, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(flux_request(steps=3, width=96), id="another size"),
        pytest.param(flux_request(steps=3, deterministic=True), id="deterministic"),
    ],
)
def test_what_cannot_be_stacked_takes_turns(engine: Engine, dev_kit: FluxKit, other: FluxRequest) -> None:
    assert rows_of(engine, dev_kit, flux_request(steps=3), other) == [1] * 6


def test_pictures_that_lie_and_that_stand_take_turns(
    engine: Engine, dev_kit: FluxKit, dev: FluxPipeline
) -> None:
    """They have as many patches as each other, but not in the same places."""
    lying, standing = flux_request(width=96, height=64), flux_request(width=64, height=96)
    for each in (lying, standing):
        painted_flux(engine, dev_kit, each)

    made = submit_flux(engine, dev_kit, lying, standing).result()

    assert_same(made[0].develop(), stock_flux_picture(dev, lying))
    assert_same(made[1].develop(), stock_flux_picture(dev, standing))


def test_a_cancelled_picture_leaves_at_the_next_step_and_the_others_go_on(
    engine: Engine, dev_kit: FluxKit, dev: FluxPipeline
) -> None:
    gate = threading.Event()
    kit, transformer = watched(dev_kit, lambda _: gate.wait(10))
    long, short = flux_request(steps=40), flux_request(steps=3, seed=2)

    cancelled = submit_flux(engine, kit, long)
    wait_until(lambda: transformer.rows)
    staying = submit_flux(engine, kit, short)
    cancelled.cancel()
    gate.set()

    with pytest.raises(Cancelled):
        cancelled.result()
    assert_same(staying.result()[0].develop(), stock_flux_picture(dev, short))
    assert len(transformer.rows) == 1 + 3


def test_a_broken_picture_takes_no_other_with_it(engine: Engine, dev_kit: FluxKit, dev: FluxPipeline) -> None:
    sound, broken = flux_request(), flux_request(seed=2, guidance_scale=float("nan"))

    renderings = [submit_flux(engine, dev_kit, each) for each in (sound, broken, sound)]

    with pytest.raises(GenerationFailed, match="out of range"):
        renderings[1].result()
    for rendering in (renderings[0], renderings[2]):
        assert_same(rendering.result()[0].develop(), stock_flux_picture(dev, sound))


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory, dev: FluxPipeline) -> Path:
    file = tmp_path_factory.mktemp("loras") / "style.safetensors"
    return transformer_lora(file, dev.transformer, dev.text_encoder)


def test_a_lora_means_what_diffusers_reads_in_it_and_is_heard_by_no_other_job(
    engine: Engine, lora: Path, dev: FluxPipeline
) -> None:
    model = from_pipeline("loras", flux())
    with_lora = FluxKit(model, loras=(read_lora("style", lora),))
    wanted = flux_request(loras=(LoraUse(lora_id="style", strength=0.7),))
    plain = flux_request()

    renderings = [submit_flux(engine, with_lora, wanted), submit_flux(engine, FluxKit(model), plain)]
    made, beside = (rendering.result()[0].develop() for rendering in renderings)

    stock = flux()
    stock.load_lora_weights(str(lora), adapter_name="style")
    stock.set_adapters(["style"], [0.7])
    assert_same(made, stock_flux_picture(stock, wanted))
    assert_same(beside, stock_flux_picture(dev, plain))
    assert abs(made.astype(int) - beside.astype(int)).max() > 8


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(
            {
                "transformer.x_embedder.lora_A.weight": torch.ones(2, 32),
                "transformer.x_embedder.lora_B.weight": torch.ones(32, 2),
            },
            id="wider input",
        ),
        pytest.param(
            {
                "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 32),
                "transformer.transformer_blocks.0.attn.to_q.lora_B.weight": torch.ones(32, 2),
                "transformer.transformer_blocks.0.attn.norm_q.weight": torch.zeros(16),
            },
            id="norms",
        ),
        pytest.param({"transformer.nothing.lora_A.weight": torch.ones(2, 32)}, id="another model's"),
    ],
)
def test_a_lora_that_would_change_the_model_for_others_is_refused(
    engine: Engine, weights: dict[str, torch.Tensor], dev: FluxPipeline
) -> None:
    model = from_pipeline("refused", flux())
    wanted = flux_request(loras=(LoraUse(lora_id="control", strength=1.0),))

    with pytest.raises(GenerationFailed, match="does not fit this model"):
        painted_flux(engine, FluxKit(model, loras=(Lora("control", weights),)), wanted)

    assert_same(painted_flux(engine, FluxKit(model), flux_request()), stock_flux_picture(dev, flux_request()))


def test_a_folder_is_loaded_as_diffusers_loads_it(engine: Engine, tmp_path: Path) -> None:
    folder = save_flux(tmp_path, guidance_embeds=True)

    model = load_flux("flux", folder, CPU)

    assert is_flux(folder)
    stock = FluxPipeline.from_pretrained(folder)
    stock.set_progress_bar_config(disable=True)
    made = painted_flux(engine, FluxKit(model), flux_request())
    assert_same(made, stock_flux_picture(stock, flux_request()))
    assert model.revision == "fp32"
    assert model.bytes == 4 * sum(
        weights.numel()
        for part in (stock.transformer, stock.vae, stock.text_encoder, stock.text_encoder_2)
        for weights in part.parameters()
    )


def test_what_would_run_in_fp16_runs_in_bf16(engine: Engine, tmp_path: Path) -> None:
    model = load_flux("flux", save_flux(tmp_path), Precision.choose("cpu", "fp16"))

    made = painted_flux(engine, FluxKit(model), flux_request(start=start(), **GUIDED))

    assert model.revision == "bf16"
    assert {part.dtype for part in (model.transformer, model.t5, model.clip, model.vae)} == {torch.bfloat16}
    assert made.shape == (64, 64, 3)


def test_a_model_is_expected_to_take_what_its_parts_take(tmp_path: Path) -> None:
    folder = save_flux(tmp_path)
    save_file({"all of it once more": torch.zeros(1_000_000)}, folder / "flux.safetensors")

    expected = bytes_on_disk(folder, torch.bfloat16)

    assert expected == pytest.approx(load_flux("flux", folder, CPU).bytes, rel=0.1)


def other_family(folder: Path) -> Path:
    return tiny.save_stable_diffusion(folder)


def of_the_same_parts(folder: Path) -> Path:
    """Made for another pipeline, whose transformer is given more than latents."""
    index = save_flux(folder) / "model_index.json"
    index.write_text(index.read_text().replace("FluxPipeline", "FluxFillPipeline"))
    return folder


def pickled(folder: Path) -> Path:
    save_flux(folder)
    part = folder / "transformer"
    (part / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, part / "diffusion_pytorch_model.bin")
    return folder


def cut_short(folder: Path) -> Path:
    save_flux(folder)
    file = folder / "text_encoder_2" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    return folder


def without_a_part(folder: Path) -> Path:
    save_flux(folder)
    save_file({"a": torch.zeros(1)}, folder / "vae" / "diffusion_pytorch_model.safetensors")
    (folder / "vae" / "config.json").unlink()
    return folder


@pytest.mark.parametrize("spoil", [other_family, of_the_same_parts, pickled, cut_short, without_a_part])
def test_a_folder_that_holds_no_flux_model_is_refused(tmp_path: Path, spoil: Callable[[Path], Path]) -> None:
    folder = spoil(tmp_path)

    assert is_flux(folder) == (spoil not in (other_family, of_the_same_parts))
    with pytest.raises(GenerationFailed, match="Model flux can't be loaded on the server"):
        load_flux("flux", folder, CPU)
