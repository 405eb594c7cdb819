"""The bundled ControlNet: edges place the shape, and the prompt still gives the colours.

Through the stock pipeline, on drawings that no training saw. deploy/demo/README.md has the figures of a long
measurement; floors lie a little below those.
"""

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image

from deploy.demo.judge import overlap
from deploy.demo.measure import MODEL
from deploy.demo.measure_controlnet import CONTROLNET, Tracer, overlaps, share_in_place, share_right, tasks

ASKED = tasks(12)
FEW = ASKED[:6]
STEPS = 12


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return Tracer()


@pytest.fixture(scope="module")
def traced(tracer: Tracer) -> list[Image.Image]:
    return tracer.paint(ASKED, steps=STEPS)


@pytest.fixture(scope="module")
def untraced(tracer: Tracer) -> list[Image.Image]:
    return tracer.paint(FEW, steps=STEPS, scale=0.0)


def test_the_controlnet_fits_into_the_repository_and_to_the_model() -> None:
    controlnet = ControlNetModel.from_pretrained(CONTROLNET, dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(MODEL / "unet", dtype=torch.float32)

    assert sum(file.stat().st_size for file in CONTROLNET.iterdir()) <= 4_000_000
    assert tuple(controlnet.config.block_out_channels) == tuple(unet.config.block_out_channels)


def test_a_drawing_overlaps_with_itself_alone() -> None:
    drawings = [task.drawing for task in FEW]

    for index, drawing in enumerate(drawings):
        assert overlap(drawing, drawing) == 1.0
        assert overlap(drawing, drawings[index - 1]) < 0.7
    assert overlap(Image.new("RGB", (128, 128), "red"), drawings[0]) == 0.0


def test_edges_place_the_object(traced: list[Image.Image]) -> None:
    assert share_in_place(traced, ASKED) >= 0.8


def test_without_its_weight_the_object_lies_elsewhere(untraced: list[Image.Image]) -> None:
    assert share_in_place(untraced, FEW) <= 0.2


def test_half_the_scale_holds_less_to_the_edges(
    tracer: Tracer, traced: list[Image.Image], untraced: list[Image.Image]
) -> None:
    half = tracer.paint(FEW, steps=STEPS, scale=0.5)

    none, some, whole = (float(np.mean(overlaps(each, FEW))) for each in (untraced, half, traced[: len(FEW)]))
    assert none < some < whole


@pytest.mark.parametrize(("field", "floor"), [("colour", 0.8), ("background", 0.8), ("shape", 0.5)])
def test_colours_are_the_prompts_and_shapes_the_edges(
    traced: list[Image.Image], field: str, floor: float
) -> None:
    assert share_right(field, traced, ASKED) >= floor
