"""Every sampler paints what the prompt says, each picture with its own in lanes that all of them share."""

import pytest

from deploy.demo import prompts
from deploy.demo.judge import Verdict, judge
from shared.schedulers import SCHEDULERS
from tests.support.studio import demo_spec, images, running_studio

ASKED = prompts.MAIN[:12]
STEPS, SIDE = 20, 64


@pytest.fixture(scope="module")
def seen() -> dict[str, list[Verdict]]:
    """All samplers' pictures of all prompts, made at the same time."""
    specs = [
        demo_spec(prompt=prompt.text, seed=index, scheduler=name, steps=STEPS, width=SIDE, height=SIDE)
        for index, prompt in enumerate(ASKED)
        for name in SCHEDULERS
    ]
    with running_studio() as studio:
        verdicts = [judge(image) for image in images(studio, specs)]
    return {name: verdicts[index :: len(SCHEDULERS)] for index, name in enumerate(SCHEDULERS)}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_gets_object_and_background_right(name: str, seen: dict[str, list[Verdict]]) -> None:
    wanted = [(prompt.scene.colour, prompt.scene.background) for prompt in ASKED]
    got = [(verdict.colour, verdict.background) for verdict in seen[name]]

    assert sum(a == b for a, b in zip(wanted, got, strict=True)) >= 10
