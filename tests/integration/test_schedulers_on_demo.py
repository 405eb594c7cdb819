"""Every sampler paints what the prompt says: the demo model in the stock pipeline, judged by colour."""

import pytest
import torch
from PIL import Image

from deploy.demo import prompts
from deploy.demo.judge import judge
from deploy.demo.measure import USUAL_GUIDANCE, Painter
from deploy.demo.prompts import Prompt
from shared.schedulers import SCHEDULERS
from worker.gpu.schedulers import Sampling, make_scheduler

ASKED = prompts.MAIN[:12]
STEPS = 30
ONE_PICTURE_AT_A_TIME = {"ScoreSdeVeScheduler"}
"""Its corrector's step size is a mean over what it is given."""


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter()


def paint(painter: Painter, asked: list[Prompt], seeds: list[int]) -> list[Image.Image]:
    pictures: list[Image.Image] = painter.pipeline(
        [prompt.text for prompt in asked],
        width=128,
        height=128,
        num_inference_steps=STEPS,
        guidance_scale=USUAL_GUIDANCE,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images
    return pictures


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_gets_object_and_background_right(painter: Painter, name: str) -> None:
    painter.pipeline.scheduler = make_scheduler(Sampling(name, STEPS), painter.noise_schedule)
    at_once = 1 if name in ONE_PICTURE_AT_A_TIME else len(ASKED)

    seen = []
    for start in range(0, len(ASKED), at_once):
        part = range(start, start + at_once)
        seen += [judge(picture) for picture in paint(painter, [ASKED[i] for i in part], list(part))]

    wanted = [(prompt.scene.colour, prompt.scene.background) for prompt in ASKED]
    got = [(verdict.colour, verdict.background) for verdict in seen]
    assert sum(a == b for a, b in zip(wanted, got, strict=True)) >= 10
