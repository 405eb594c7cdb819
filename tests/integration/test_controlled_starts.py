"""Pictures that start from a picture are steered by ControlNets as in diffusers' own pipelines."""

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from PIL import Image

from tests.support import tiny
from tests.support.painting import assert_same, painted, request, sibling, stock_picture
from worker.gpu.engine import Engine, Pixels
from worker.gpu.models.controlnets import load_controlnet, require_fit
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.models.precision import Precision
from worker.gpu.painting import Control, Kit, Start, hint_of

FAMILIES: dict[str, Any] = {"sd1": tiny.stable_diffusion, "sdxl": tiny.stable_diffusion_xl}
FROM_A_PICTURE = {
    "sd1": diffusers.StableDiffusionControlNetImg2ImgPipeline,
    "sdxl": diffusers.StableDiffusionXLControlNetImg2ImgPipeline,
}
AROUND_A_HOLE = {
    "sd1": diffusers.StableDiffusionControlNetInpaintPipeline,
    "sdxl": diffusers.StableDiffusionXLControlNetInpaintPipeline,
}


def blocks(seed: int) -> Pixels:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)


PICTURE, SHOWN = blocks(0), blocks(1)
HOLE = np.full((64, 64), 255, np.uint8)
"""All of the picture, so that nothing is put back over what was made."""


@pytest.mark.parametrize("guess_mode", [False, True], ids=["prompts lead too", "guess mode"])
@pytest.mark.parametrize("kinds", [FROM_A_PICTURE, AROUND_A_HOLE], ids=["from a picture", "around a hole"])
@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_that_start_from_a_picture_equal_the_stock_pipelines(
    engine: Engine, tmp_path: Path, family: str, kinds: dict[str, Any], guess_mode: bool
) -> None:
    pipeline = FAMILIES[family]()
    net = tiny.controlnet(pipeline.unet)

    made, stock = both(engine, tmp_path, pipeline, net, kinds[family], guess_mode=guess_mode)

    assert_same(made, stock)


def test_the_controlnets_of_a_model_that_sees_the_hole_see_the_latents_alone(
    engine: Engine, tmp_path: Path
) -> None:
    pipeline = tiny.stable_diffusion()
    net = tiny.controlnet(pipeline.unet)
    pipeline.register_modules(unet=tiny.unet(in_channels=tiny.INPAINTING))

    made, stock = both(engine, tmp_path, pipeline, net, AROUND_A_HOLE["sd1"])

    assert_same(made, stock)


def both(
    engine: Engine, folder: Path, pipeline: Any, net: Any, kind: Any, *, guess_mode: bool = False
) -> tuple[Pixels, Pixels]:
    """Ours and diffusers'."""
    net.save_pretrained(folder)
    loaded = load_controlnet("canny", folder, Precision.choose("cpu", "fp32"))
    model = from_pipeline("tiny", pipeline)
    require_fit(loaded, model)
    has_hole = kind in AROUND_A_HOLE.values()
    wanted = request(
        start=Start(PICTURE, 0.6, HOLE if has_hole else None),
        controls=(Control("canny", hint_of(SHOWN), 0.8),),
        guess_mode=guess_mode,
    )

    made = painted(engine, Kit(model=model, vae=model.vae, controlnets={"canny": loaded}), wanted)

    shown: dict[str, Any] = {"image": Image.fromarray(PICTURE), "control_image": Image.fromarray(SHOWN)}
    if has_hole:
        shown["mask_image"] = Image.fromarray(HOLE)
    options = {"strength": 0.6, "controlnet_conditioning_scale": 0.8, "guess_mode": guess_mode}
    stock = sibling(kind, pipeline, controlnet=net)
    return made, stock_picture(stock, wanted, **shown, **options)
