"""Pictures that start from a picture equal those of diffusers' image-to-image pipelines, in any company."""

import dataclasses
from functools import partial
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from shared.errors import Cancelled
from shared.schedulers import SCHEDULERS
from tests.support import tiny
from tests.support.painting import (
    assert_same,
    in_mixed_company,
    painted,
    request,
    sibling,
    started_stock_picture,
    stock_picture,
    submit,
)
from tests.support.starting import started
from tests.support.waiting import wait_until
from worker.gpu.engine import Engine, Pixels
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.painting import Kit, PictureRequest, SelfAttention, paint
from worker.gpu.painting.autoencoder import MOST_POSITIONS, scaled, unscaled
from worker.gpu.schedulers import Sampling, make_scheduler
from worker.gpu.studio.plan import SAG_SCHEDULERS


def stock(pipeline: diffusers.DiffusionPipeline, wanted: PictureRequest) -> Pixels:
    return (
        stock_picture(pipeline, wanted)
        if wanted.start is None
        else started_stock_picture(pipeline, wanted, wanted.start)
    )


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_lone_picture_equals_the_stock_pipelines(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline, scheduler: str
) -> None:
    wanted = started(scheduler=scheduler, steps=5)

    assert_same(painted(engine, kit, wanted), stock(pipeline, wanted))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"strength": 0.2}, id="one step"),
        pytest.param({"strength": 0.45}, id="a few steps"),
        pytest.param({"strength": 1.0}, id="all steps"),
        pytest.param({"strength": 1.0, "scheduler": "HeunDiscreteScheduler"}, id="all double steps"),
        pytest.param({"guidance_scale": 1.0}, id="no guidance"),
        pytest.param({"negative_prompt": None}, id="no negative prompt"),
        pytest.param({"width": 96, "height": 72}, id="not square"),
        pytest.param({"sampling": Sampling("DPMSolverMultistepScheduler", 6, karras=True)}, id="karras"),
        pytest.param(
            {"sampling": Sampling("DPMSolverMultistepScheduler", 6, algorithm="sde-dpmsolver++")}, id="sde"
        ),
    ],
)
def test_every_choice_equals_the_stock_pipelines(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline, changes: dict[str, Any]
) -> None:
    wanted = started(**changes)

    assert_same(painted(engine, kit, wanted), stock(pipeline, wanted))


def test_pictures_in_mixed_company_equal_the_stock_pipelines(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline
) -> None:
    """Other step counts, guidance, schedulers, strengths and sizes, beside pictures that start from noise."""
    wanted = [
        company(
            index % 3 > 0,
            strength=(0.3, 0.6, 0.9, 1.0)[index % 4],
            prompt=f"a blue star {index}",
            steps=4 + index % 3,
            guidance_scale=(1.0, 5.0, 7.5, 12.0)[index % 4],
            scheduler=scheduler,
            seed=100 + index,
            width=64 if index % 5 else 96,
        )
        for index, scheduler in enumerate(SCHEDULERS)
    ]
    expected = [stock(pipeline, each) for each in wanted]

    made = in_mixed_company(partial(submit, engine, kit), wanted)

    for ours, theirs in zip(made, expected, strict=True):
        assert_same(ours, theirs)


def company(starts: bool, strength: float, **changes: Any) -> PictureRequest:
    return started(strength=strength, **changes) if starts else request(**changes)


def test_pictures_from_noise_from_a_picture_and_around_a_hole_share_forwards(engine: Engine) -> None:
    pipeline = tiny.stable_diffusion()
    kit = Kit.plain(from_pipeline("shared", pipeline))
    painted(engine, kit, started())  # so that the memory of these sizes is known
    rows: list[int] = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))

    submit(
        engine,
        kit,
        request(steps=4),
        started(steps=6, strength=0.5, scheduler="DDIMScheduler"),
        started(steps=2, strength=1.0, masked=True, guidance_scale=1.0),
    ).result()

    hook.remove()
    assert rows == [5, 5, 4, 2]


def test_pictures_of_one_size_are_encoded_together_as_far_as_is_good_for_them(engine: Engine) -> None:
    pipeline = tiny.stable_diffusion()
    kit = Kit.plain(from_pipeline("encoded", pipeline))
    batches: list[int] = []
    hook = pipeline.vae.encoder.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    small = [started(seed=seed, strength=0) for seed in range(6)]
    large = [started(seed=seed, strength=0, width=640, height=640) for seed in range(4)]
    painted(engine, kit, small[0])  # so that the memory of its size is known

    submit(engine, kit, *small).result()
    few, batches[:] = batches[1:], []
    submit(engine, kit, *large).result()

    hook.remove()
    assert few == [6]
    most = MOST_POSITIONS // (640 // 8) ** 2
    assert batches == [1, most, 1] == [1, 2, 1]


def test_a_picture_that_does_not_fit_whole_is_encoded_in_tiles(engine: Engine) -> None:
    """The tiny autoencoder's tiles are 64 px; what is larger does not fit this device."""
    pipeline = tiny.stable_diffusion()
    kit = Kit.plain(from_pipeline("tiled", pipeline))
    wanted = started(width=160, height=96, strength=0)

    def refuse(_: object, inputs: tuple[torch.Tensor]) -> None:
        if max(inputs[0].shape[2:]) > 64:
            raise torch.OutOfMemoryError("full")

    hook = pipeline.vae.encoder.register_forward_pre_hook(refuse)
    tiled = painted(engine, kit, wanted)
    hook.remove()
    whole = painted(engine, kit, wanted)

    assert_same(whole, seen_by_autoencoder(pipeline.vae, wanted))
    pipeline.vae.enable_tiling()
    assert_same(tiled, seen_by_autoencoder(pipeline.vae, wanted))


def test_too_little_strength_for_a_step_gives_the_picture_as_the_autoencoder_sees_it(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline
) -> None:
    wanted = started(steps=5, strength=0.19)

    assert_same(painted(engine, kit, wanted), seen_by_autoencoder(pipeline.vae, wanted))


def seen_by_autoencoder(vae: diffusers.AutoencoderKL, wanted: PictureRequest) -> Pixels:
    """Encoded, in tiles if the autoencoder is set to it, and decoded whole."""
    assert wanted.start is not None
    with torch.inference_mode():
        pixels = torch.from_numpy(wanted.start.pixels).permute(2, 0, 1)[None] / 127.5 - 1
        drawn = vae.encode(pixels).latent_dist.sample(torch.Generator().manual_seed(wanted.seed))
        vae.disable_tiling()
        decoded = vae.decode(drawn).sample[0].permute(1, 2, 0)
    return np.asarray(((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8))


@pytest.mark.parametrize(
    ("scheduler", "order"), [("EulerDiscreteScheduler", 1), ("HeunDiscreteScheduler", 2)]
)
def test_progress_counts_the_steps_that_are_run(engine: Engine, scheduler: str, order: int) -> None:
    kit = Kit.plain(from_pipeline("counted", tiny.stable_diffusion()))
    wanted = started(steps=10, strength=0.4, scheduler=scheduler)
    noted: list[float] = []

    engine.submit([lambda _: paint(kit, wanted, noted.append)]).result()

    calls = 4 * order - (order - 1)  # Heun's last step asks once
    assert noted == [(done + 1) / calls for done in range(calls)]


def test_a_cancelled_picture_leaves_and_the_others_go_on(engine: Engine) -> None:
    kit = Kit.plain(from_pipeline("cancelled", tiny.stable_diffusion()))
    doomed, other = submit(engine, kit, started(steps=900)), submit(engine, kit, started(steps=20, seed=2))
    wait_until(lambda: doomed.progress > 0)

    doomed.cancel()

    with pytest.raises(Cancelled):
        doomed.result()
    assert doomed.progress < 1
    assert other.result()[0].develop().shape == (64, 64, 3)


@pytest.mark.parametrize("masked", [False, True], ids=["picture", "hole"])
def test_deterministic_pictures_are_bit_identical_whatever_runs_beside_them(
    engine: Engine, kit: Kit, masked: bool
) -> None:
    wanted = started(deterministic=True, steps=6, masked=masked, scheduler="EulerAncestralDiscreteScheduler")
    alone = painted(engine, kit, wanted)

    crowd = [submit(engine, kit, started(seed=seed, steps=9)) for seed in range(4)]
    in_company = submit(engine, kit, wanted, request(seed=9), wanted).result()

    assert in_company[0].develop().tobytes() == alone.tobytes()
    assert in_company[2].develop().tobytes() == alone.tobytes()
    for rendering in crowd:
        rendering.result()


def test_perturbed_attention_guidance_equals_the_stock_pipelines(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline
) -> None:
    is_xl = isinstance(pipeline, diffusers.StableDiffusionXLPipeline)
    kind = (
        diffusers.StableDiffusionXLPAGImg2ImgPipeline
        if is_xl
        else diffusers.StableDiffusionPAGImg2ImgPipeline
    )
    guided, plain = started(self_attention=SelfAttention.PAG), started(seed=2)
    assert guided.start is not None

    made = submit(engine, kit, plain, guided, plain).result()

    expected = stock_picture(
        sibling(kind, pipeline, pag_applied_layers="mid"),
        guided,
        image=diffusers.utils.numpy_to_pil(guided.start.pixels / 255.0)[0],
        strength=guided.start.strength,
    )
    assert_same(made[1].develop(), expected)
    assert_same(made[2].develop(), stock(pipeline, plain))


@pytest.mark.parametrize("scheduler", sorted(SAG_SCHEDULERS))
def test_self_attention_guidance_from_a_picture_is_the_stock_pipelines_begun_in_the_middle(
    engine: Engine, scheduler: str
) -> None:
    pipeline = tiny.stable_diffusion()
    kit = Kit.plain(from_pipeline("sag", pipeline))
    guided = started(self_attention=SelfAttention.SAG, scheduler=scheduler, steps=6, strength=0.5)

    assert_same(painted(engine, kit, guided), guided_by_hand(pipeline, guided))


def guided_by_hand(pipeline: diffusers.StableDiffusionPipeline, wanted: PictureRequest) -> Pixels:
    """diffusers' pipeline, which starts from noise only, given noised latents and the rest of the steps."""
    assert wanted.start is not None
    stock = sibling(diffusers.StableDiffusionSAGPipeline, pipeline)
    starting = sibling(diffusers.StableDiffusionImg2ImgPipeline, pipeline)
    generator = torch.Generator().manual_seed(wanted.seed)
    scheduler = make_scheduler(wanted.sampling, pipeline.scheduler.config)
    starting.scheduler = scheduler
    rest, _ = starting.get_timesteps(wanted.sampling.steps, wanted.start.strength, "cpu")
    pixels = torch.from_numpy(wanted.start.pixels).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        latents = starting.prepare_latents(pixels, rest[:1], 1, 1, torch.float32, "cpu", generator)
    stock.scheduler = Begun(scheduler, rest)
    picture = stock(
        wanted.prompt,
        negative_prompt=wanted.negative_prompt,
        width=wanted.width,
        height=wanted.height,
        guidance_scale=wanted.guidance_scale,
        latents=latents,
        generator=generator,
        output_type="np",
        sag_scale=0.75,
    ).images[0]
    return np.asarray((picture * 255).round().astype(np.uint8))


class Begun:
    """A scheduler that begins in the middle, for a pipeline that knows no such thing."""

    def __init__(self, scheduler: Any, rest: torch.Tensor) -> None:
        self._scheduler = scheduler
        self.timesteps = rest

    def set_timesteps(self, *_: Any, **__: Any) -> None:
        """They are set."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)


def test_a_distilled_model_is_told_the_guidance(engine: Engine) -> None:
    pipeline = tiny.latent_consistency()
    kit = Kit.plain(from_pipeline("lcm", pipeline))
    wanted = started(scheduler="LCMScheduler", steps=4)

    assert_same(painted(engine, kit, wanted), stock(pipeline, wanted))


def test_a_custom_autoencoder_encodes_and_decodes(engine: Engine) -> None:
    pipeline, other = tiny.stable_diffusion_xl(), tiny.stable_diffusion_xl(seed=1)
    other.vae.register_to_config(
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.1, 0.9, 1.3, 0.7], scaling_factor=0.5
    )
    kit = dataclasses.replace(Kit.plain(from_pipeline("vae", pipeline)), vae=other.vae, vae_id="other")
    wanted = started()
    own = painted(engine, Kit.plain(kit.model), wanted)

    made = painted(engine, kit, wanted)

    pipeline.vae = other.vae
    assert_same(made, stock(pipeline, wanted))
    assert (made != own).any()


@pytest.mark.parametrize(
    "config",
    [
        {"scaling_factor": 0.3},
        {"scaling_factor": 0.3, "shift_factor": 0.2},
        {"latents_mean": [1.0, 2.0, 3.0, 4.0], "latents_std": [0.5, 0.6, 0.7, 0.8]},
    ],
    ids=["factor", "shift", "mean and spread"],
)
def test_latents_are_scaled_and_scaled_back_as_the_autoencoder_says(config: dict[str, Any]) -> None:
    vae = tiny.vae()
    vae.register_to_config(**config)
    latents = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))

    there = scaled(vae, latents)

    mean = torch.tensor(config.get("latents_mean", [config.get("shift_factor", 0.0)] * 4)).view(1, 4, 1, 1)
    spread = torch.tensor(config.get("latents_std", [1.0] * 4)).view(1, 4, 1, 1)
    factor = config.get("scaling_factor", 0.18215)
    assert torch.allclose(there, (latents - mean) / spread * factor, atol=1e-6)
    assert torch.allclose(unscaled(vae, there), latents, atol=1e-5)


def test_the_pictures_of_one_job_start_from_one_picture_and_differ(engine: Engine, kit: Kit) -> None:
    first = started(strength=0.9)
    second = dataclasses.replace(first, seed=first.seed + 1)

    one, other = (
        picture.develop()
        for picture in engine.submit([partial(paint, kit, each) for each in (first, second)]).result()
    )

    assert (one != other).any()
    assert_same(one, painted(engine, kit, first))
