"""Inpainting equals diffusers' own, with and without models made for it, and keeps what the mask keeps."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from shared.errors import GenerationFailed
from shared.settings import Settings
from tests.support import tiny
from tests.support.jobs import make_spec
from tests.support.models import installed
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
from tests.support.starting import hole, scenery, started
from worker.gpu.engine import Engine, Pixels
from worker.gpu.finishing.seam import joined
from worker.gpu.models.library import Library
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.models.loading import Tuning, load_checkpoint
from worker.gpu.models.precision import Precision
from worker.gpu.painting import Kit, PictureRequest, SelfAttention, Start
from worker.gpu.schedulers import Sampling

MADE_FOR_IT: dict[str, Any] = {
    "sd1 that sees the hole": lambda: tiny.stable_diffusion(in_channels=tiny.INPAINTING),
    "sdxl that sees the hole": lambda: tiny.stable_diffusion_xl(in_channels=tiny.INPAINTING),
}
FAMILIES: dict[str, Any] = {**tiny.FAMILIES, **MADE_FOR_IT}
SOME_SCHEDULERS = (
    "EulerAncestralDiscreteScheduler",
    "DDIMScheduler",
    "UniPCMultistepScheduler",
    "HeunDiscreteScheduler",
    "KarrasVeScheduler",
)
MORE_SCHEDULERS = ("PNDMScheduler", "LCMScheduler", "IPNDMScheduler", "ScoreSdeVeScheduler")


@pytest.fixture(scope="module", params=FAMILIES)
def pipeline(request: pytest.FixtureRequest) -> diffusers.DiffusionPipeline:
    return FAMILIES[request.param]()


@pytest.fixture(scope="module", params=MADE_FOR_IT)
def seeing(request: pytest.FixtureRequest) -> diffusers.DiffusionPipeline:
    return MADE_FOR_IT[request.param]()


def stock(pipeline: diffusers.DiffusionPipeline, wanted: PictureRequest) -> Pixels:
    """diffusers' picture, with what the mask keeps put back as we do."""
    start = wanted.start
    assert start is not None
    if start.mask is None and pipeline.unet.config.in_channels == tiny.INPAINTING:
        start = everywhere(start)
    made = started_stock_picture(pipeline, wanted, start)
    return made if start.mask is None else joined(start.pixels, made, start.mask)


def everywhere(start: Start) -> Start:
    """The same with a mask that keeps nothing."""
    return dataclasses.replace(start, mask=np.full(start.pixels.shape[:2], 255, np.uint8))


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("scheduler", SOME_SCHEDULERS)
def test_a_lone_picture_equals_the_stock_pipelines(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline, scheduler: str, strength: float
) -> None:
    wanted = started(masked=True, scheduler=scheduler, steps=4, strength=strength)

    assert_same(painted(engine, kit, wanted), stock(pipeline, wanted))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"strength": 0.2}, id="one step"),
        pytest.param({"guidance_scale": 1.0}, id="no guidance"),
        pytest.param({"negative_prompt": None}, id="no negative prompt"),
        pytest.param({"width": 96, "height": 72}, id="not square"),
        pytest.param({"sampling": Sampling("DPMSolverMultistepScheduler", 6, karras=True)}, id="karras"),
    ],
)
def test_every_choice_equals_the_stock_pipelines(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline, changes: dict[str, Any]
) -> None:
    wanted = started(masked=True, **changes)

    assert_same(painted(engine, kit, wanted), stock(pipeline, wanted))


def test_pictures_in_mixed_company_equal_the_stock_pipelines(
    engine: Engine, kit: Kit, pipeline: diffusers.DiffusionPipeline
) -> None:
    """Among them ones that start from a picture without a mask, and of another size."""
    wanted = [
        started(
            masked=bool(index % 3),
            prompt=f"a blue star {index}",
            strength=(0.5, 0.8, 1.0)[index % 2 if index % 3 == 0 else index % 3],
            steps=3 + index % 4,
            guidance_scale=(1.0, 5.0, 12.0)[index % 3],
            scheduler=scheduler,
            seed=100 + index,
            width=64 if index % 4 else 96,
        )
        for index, scheduler in enumerate((*SOME_SCHEDULERS, *MORE_SCHEDULERS))
    ]

    expected = [stock(pipeline, each) for each in wanted]

    made = in_mixed_company(partial(submit, engine, kit), wanted)

    for ours, theirs in zip(made, expected, strict=True):
        assert_same(ours, theirs)


def test_what_the_mask_keeps_is_the_pictures_own_and_the_hole_is_new(engine: Engine, kit: Kit) -> None:
    wanted = started(masked=True, width=96, height=80, strength=1.0)
    assert wanted.start is not None

    made = painted(engine, kit, wanted)

    kept = hole(96, 80) == 0
    assert (made[kept] == wanted.start.pixels[kept]).all()
    assert np.abs(made[~kept].astype(int) - wanted.start.pixels[~kept]).mean() > 10


def test_a_mask_that_keeps_all_gives_the_picture_itself(engine: Engine, kit: Kit) -> None:
    pixels = scenery()
    wanted = request(start=Start(pixels, 0.8, np.zeros((64, 64), np.uint8)))

    assert painted(engine, kit, wanted).tobytes() == pixels.tobytes()


def test_too_little_strength_for_a_step_is_no_error(engine: Engine, kit: Kit) -> None:
    wanted = started(masked=True, strength=0.01)

    assert painted(engine, kit, wanted).shape == (64, 64, 3)


def test_an_upscaled_picture_keeps_what_the_mask_keeps(engine: Engine, kit: Kit) -> None:
    plain = started(masked=True)
    small = painted(engine, kit, plain)

    large = painted(engine, kit, dataclasses.replace(plain, upscale=True))

    expected = Image.fromarray(small).resize((128, 128), Image.Resampling.LANCZOS)
    assert np.abs(large.astype(int) - np.asarray(expected, int)).max() <= 1


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_a_model_that_sees_the_hole_takes_a_picture_without_a_mask_for_a_hole(
    engine: Engine, seeing: diffusers.DiffusionPipeline, strength: float
) -> None:
    kit = Kit.plain(from_pipeline("seeing", seeing))
    wanted = started(strength=strength, scheduler="EulerAncestralDiscreteScheduler")
    assert wanted.start is not None

    assert_same(painted(engine, kit, wanted), started_stock_picture(seeing, wanted, everywhere(wanted.start)))


def test_a_model_that_sees_the_hole_paints_from_nothing_as_if_all_were_hole(
    engine: Engine, seeing: diffusers.DiffusionPipeline
) -> None:
    kit = Kit.plain(from_pipeline("seeing", seeing))
    wanted = request(width=72, scheduler="EulerAncestralDiscreteScheduler")
    any_picture = Start(scenery(72, 64), strength=1.0)

    assert_same(painted(engine, kit, wanted), stock(seeing, dataclasses.replace(wanted, start=any_picture)))


@pytest.mark.parametrize(
    "changes",
    [
        {"panorama": True, "width": 160},
        {"highres_fix": True, "width": 128, "height": 96},
        {"self_attention": SelfAttention.PAG},
        {"self_attention": SelfAttention.SAG, "scheduler": "DDIMScheduler"},
    ],
    ids=["panorama", "highres_fix", "PAG", "SAG"],
)
def test_a_model_that_sees_the_hole_does_all_that_others_do(engine: Engine, changes: dict[str, Any]) -> None:
    kit = Kit.plain(from_pipeline("seeing", MADE_FOR_IT["sd1 that sees the hole"]()))
    wanted = request(**changes)

    assert painted(engine, kit, wanted).shape == (wanted.height, wanted.width, 3)


def test_perturbed_attention_guidance_equals_the_stock_pipeline(engine: Engine) -> None:
    pipeline = tiny.stable_diffusion()
    kit = Kit.plain(from_pipeline("pag", pipeline))
    guided, plain = started(masked=True, self_attention=SelfAttention.PAG), started(masked=True, seed=2)
    assert guided.start is not None
    assert guided.start.mask is not None

    made = submit(engine, kit, plain, guided, plain).result()

    expected = stock_picture(
        sibling(diffusers.StableDiffusionPAGInpaintPipeline, pipeline, pag_applied_layers="mid"),
        guided,
        image=Image.fromarray(guided.start.pixels),
        mask_image=Image.fromarray(guided.start.mask),
        strength=guided.start.strength,
    )
    assert_same(made[1].develop(), joined(guided.start.pixels, expected, guided.start.mask))
    assert_same(made[2].develop(), stock(pipeline, plain))


@pytest.mark.parametrize("is_xl", [False, True], ids=["sd1", "sdxl"])
def test_a_checkpoint_made_for_inpainting_is_loaded_from_its_folder(
    engine: Engine, tmp_path: Path, is_xl: bool
) -> None:
    pipeline = MADE_FOR_IT["sdxl that sees the hole" if is_xl else "sd1 that sees the hole"]()
    kind = diffusers.StableDiffusionXLInpaintPipeline if is_xl else diffusers.StableDiffusionInpaintPipeline
    sibling(kind, pipeline).save_pretrained(tmp_path, safe_serialization=True)
    wanted = started(masked=True)

    model = load_checkpoint("inpainting", tmp_path, Precision.choose("cpu", "fp32"), Tuning())

    assert json.loads((tmp_path / "model_index.json").read_text())["_class_name"] == kind.__name__
    assert model.sees_hole
    assert_same(painted(engine, Kit.plain(model), wanted), stock(model.pipeline, wanted))


def test_an_autoencoder_fits_a_model_that_sees_the_hole_by_its_latents(tmp_path: Path) -> None:
    MADE_FOR_IT["sd1 that sees the hole"]().save_pretrained(tmp_path / "model", safe_serialization=True)
    tiny.vae().save_pretrained(tmp_path / "fits")
    diffusers.AutoencoderKL(
        latent_channels=9,
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
    ).save_pretrained(tmp_path / "nine")
    models = installed(
        models={"demo": tmp_path / "model"}, vaes={name: tmp_path / name for name in ("fits", "nine")}
    )
    library = Library(Settings(), Precision.choose("cpu", "fp32"), models)

    with library.kit(make_spec(vae="fits")) as kit:
        assert kit.vae_id.startswith("fits ")
    with pytest.raises(GenerationFailed, match="does not fit"), library.kit(make_spec(vae="nine")):
        pass


def test_a_bad_row_of_numbers_says_what_to_send_instead(engine: Engine) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.vae.encoder.conv_in.bias.data.fill_(torch.inf)
    kit = Kit.plain(from_pipeline("broken", pipeline))

    with pytest.raises(GenerationFailed, match="out of range"):
        painted(engine, kit, started(masked=True))
