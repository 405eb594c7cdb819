"""Pictures equal those of diffusers' own pipelines, alone and in mixed company: SD 1.x, SD 2.x, SDXL."""

import dataclasses
from functools import partial
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from shared.schedulers import SCHEDULERS
from tests.support import tiny
from tests.support.painting import (
    assert_same,
    in_mixed_company,
    painted,
    request,
    sibling,
    stock_picture,
    submit,
)
from worker.gpu.engine import Engine
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.painting import Kit, PictureRequest, SelfAttention
from worker.gpu.painting.denoising import SECOND_PASS_STRENGTH
from worker.gpu.schedulers import Sampling, make_scheduler


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_lone_picture_equals_the_stock_pipelines(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline, scheduler: str
) -> None:
    wanted = request(scheduler=scheduler, steps=7)

    assert_same(painted(engine, kit, wanted), stock_picture(pipeline, wanted))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"guidance_scale": 1.0}, id="no guidance"),
        pytest.param({"negative_prompt": None}, id="no negative prompt"),
        pytest.param({"negative_prompt": ""}, id="empty negative prompt"),
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
    wanted = request(**changes)

    assert_same(painted(engine, kit, wanted), stock_picture(pipeline, wanted))


def test_pictures_in_mixed_company_equal_the_stock_pipelines(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline
) -> None:
    """Other step counts, guidance (1 included), schedulers, prompts and sizes, joining while others run."""
    wanted = [
        request(
            prompt=f"a blue star {index}",
            steps=4 + index % 5,
            guidance_scale=(1.0, 5.0, 7.5, 12.0)[index % 4],
            scheduler=scheduler,
            seed=100 + index,
            width=64 if index % 3 else 96,
        )
        for index, scheduler in enumerate(SCHEDULERS)
    ]

    expected = [stock_picture(pipeline, each) for each in wanted]

    made = in_mixed_company(partial(submit, engine, kit), wanted)

    for ours, theirs in zip(made, expected, strict=True):
        assert_same(ours, theirs)


def test_perturbed_attention_guidance_equals_the_stock_pipelines_beside_plain_pictures(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline
) -> None:
    is_xl = isinstance(pipeline, diffusers.StableDiffusionXLPipeline)
    kind = diffusers.StableDiffusionXLPAGPipeline if is_xl else diffusers.StableDiffusionPAGPipeline
    stock = sibling(kind, pipeline, pag_applied_layers="mid")
    guided, plain = request(self_attention=SelfAttention.PAG), request(seed=2)

    made = submit(engine, kit, plain, guided, plain, guided).result()

    assert_same(made[0].develop(), stock_picture(pipeline, plain))
    for index in (1, 3):
        assert_same(made[index].develop(), stock_picture(stock, guided, pag_scale=3.0))


@pytest.mark.parametrize("guidance_scale", [7.5, 1.0])
def test_self_attention_guidance_equals_the_stock_pipelines_beside_plain_pictures(
    engine: Engine, guidance_scale: float
) -> None:
    pipeline = tiny.stable_diffusion()
    kit = Kit.plain(from_pipeline("sag", pipeline))
    stock = sibling(diffusers.StableDiffusionSAGPipeline, pipeline)
    guided = request(
        self_attention=SelfAttention.SAG, scheduler="DDIMScheduler", guidance_scale=guidance_scale
    )
    plain = dataclasses.replace(guided, self_attention=None, seed=2)

    made = submit(engine, kit, plain, guided, plain).result()

    assert_same(made[1].develop(), stock_picture(stock, guided, sag_scale=0.75))
    assert_same(made[2].develop(), stock_picture(pipeline, plain))


@pytest.mark.parametrize("scheduler", ["EulerAncestralDiscreteScheduler", "UniPCMultistepScheduler"])
def test_a_panorama_equals_the_stock_pipelines(engine: Engine, scheduler: str) -> None:
    pipeline = tiny.stable_diffusion(sample_size=64)
    kit = Kit.plain(from_pipeline("panorama", pipeline))
    stock = sibling(diffusers.StableDiffusionPanoramaPipeline, pipeline)
    wanted = request(panorama=True, width=576, height=512, scheduler=scheduler, steps=2)

    assert_same(painted(engine, kit, wanted), stock_picture(stock, wanted))


def test_highres_fix_is_a_small_picture_refined_by_the_stock_image_to_image_pipeline(engine: Engine) -> None:
    pipeline = tiny.stable_diffusion()
    kit = Kit.plain(from_pipeline("highres", pipeline))
    wanted = request(highres_fix=True, width=128, height=96, steps=10)

    made = painted(engine, kit, wanted)

    assert_same(made, refined_by_hand(pipeline, wanted))


def refined_by_hand(pipeline: diffusers.DiffusionPipeline, wanted: PictureRequest) -> Any:
    generator = torch.Generator().manual_seed(wanted.seed)
    small = dataclasses.replace(wanted, width=72, height=56)
    pipeline.scheduler = make_scheduler(wanted.sampling, pipeline.scheduler.config)
    words: dict[str, Any] = {"prompt": wanted.prompt, "negative_prompt": wanted.negative_prompt}
    latents = pipeline(
        **words,
        width=small.width,
        height=small.height,
        num_inference_steps=wanted.sampling.steps,
        guidance_scale=wanted.guidance_scale,
        generator=generator,
        output_type="latent",
    ).images
    larger = torch.nn.functional.interpolate(
        latents, (wanted.height // 8, wanted.width // 8), mode="bilinear"
    )
    refine = sibling(diffusers.StableDiffusionImg2ImgPipeline, pipeline)
    picture = refine(
        **words,
        image=larger,
        strength=SECOND_PASS_STRENGTH,
        num_inference_steps=wanted.sampling.steps,
        guidance_scale=wanted.guidance_scale,
        generator=generator,
        output_type="np",
    ).images[0]
    return (picture * 255).round().astype(np.uint8)


def test_merged_tokens_make_attention_shorter_and_leave_no_trace(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline
) -> None:
    plain = request(width=128, height=128)
    merged = dataclasses.replace(plain, tomesd=True)
    lengths = AttentionLengths(pipeline.unet)

    made = {wanted: (painted(engine, kit, wanted), lengths.longest()) for wanted in (plain, merged)}
    again = painted(engine, kit, plain)

    assert made[merged][1] == made[plain][1] / 2
    assert (made[merged][0] != made[plain][0]).any()
    assert again.tobytes() == made[plain][0].tobytes()


class AttentionLengths:
    """Notes how many positions the UNet's self-attentions get."""

    def __init__(self, unet: diffusers.UNet2DConditionModel) -> None:
        self._seen: list[int] = []
        for name, module in unet.named_modules():
            if name.endswith("attn1"):
                module.register_forward_pre_hook(lambda _, inputs: self._seen.append(inputs[0].shape[1]))

    def longest(self) -> int:
        """Since the last call."""
        longest, self._seen = max(self._seen), []
        return longest


def test_a_distilled_model_is_told_the_guidance_instead_of_a_negative_prompt(engine: Engine) -> None:
    pipeline = tiny.latent_consistency()
    kit = Kit.plain(from_pipeline("lcm", pipeline))
    wanted = request(scheduler="LCMScheduler", steps=4)

    strong, weak = (
        painted(engine, kit, wanted),
        painted(engine, kit, request(scheduler="LCMScheduler", steps=4, guidance_scale=2)),
    )

    assert_same(strong, stock_picture(pipeline, wanted))
    assert (strong != weak).any()


def test_deterministic_pictures_are_bit_identical_whatever_runs_beside_them(engine: Engine, kit: Kit) -> None:
    wanted = request(deterministic=True, steps=6, upscale=True)
    alone = painted(engine, kit, wanted)

    crowd = [submit(engine, kit, request(seed=seed, steps=9)) for seed in range(6)]
    in_company = submit(engine, kit, wanted, request(seed=9), wanted).result()

    assert in_company[0].develop().tobytes() == alone.tobytes()
    assert in_company[2].develop().tobytes() == alone.tobytes()
    for rendering in crowd:
        rendering.result()
