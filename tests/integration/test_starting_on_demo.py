"""What starting from a picture does on the demo model: what of it stays, and what the prompt changes."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from deploy.demo import prompts
from deploy.demo.drawing import Scene, draw
from deploy.demo.effects import has_floor
from deploy.demo.judge import Verdict, judge
from deploy.demo.measure import share_right
from shared.jobs import LoraUse, PictureSpec
from shared.settings import DEMO
from tests.support.studio import demo_spec, running_studio
from tests.support.tiny_finishing import ALWAYS, save_safety_checker
from worker.gpu.engine import Picture, Pixels, Rendering
from worker.gpu.finishing.seam import EDGE
from worker.gpu.painting import Kit, Start, paint
from worker.gpu.studio import Studio
from worker.gpu.studio.plan import plan_job
from worker.gpu.words import Words

SIDE = 128
ASKED = prompts.MAIN[::5]
CIRCLE = "a red circle on a yellow background"
HOLE = np.zeros((SIDE, SIDE), np.uint8)
HOLE[16:-16, 16:-16] = 255


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("models")
    checker = save_safety_checker(folder / "checker", ALWAYS)
    vaes = {"bright": bright_vae(folder / "bright")}
    with running_studio(vaes=vaes, safety_checker=str(checker)) as studio:
        yield studio


def bright_vae(folder: Path) -> Path:
    vae = AutoencoderKL.from_pretrained(DEMO / "model" / "vae", dtype=torch.float32)
    vae.decoder.conv_out.bias.data += 0.5
    vae.save_pretrained(folder)
    return folder


def scenery(seed: int, **changes: Any) -> Pixels:
    """A blue square on yellow."""
    values: dict[str, Any] = {"shape": "square", "colour": "blue", "background": "yellow"}
    return np.array(draw(Scene(**(values | changes)), Random(seed), side=SIDE))


def begin(studio: Studio, spec: PictureSpec, start: Start | None) -> Rendering:
    with studio.library.kit(spec) as kit:
        assert isinstance(kit, Kit)
        (wanted,) = plan_job(spec, Words(spec.prompt, spec.negative_prompt or ""), kit).requests
        return studio.engine.submit([partial(paint, kit, dataclasses.replace(wanted, start=start))])


def pictures(studio: Studio, texts: Sequence[str], starts: Sequence[Start]) -> list[Image.Image]:
    """One of each text and start, all at once."""
    begun = [
        begin(studio, demo_spec(prompt=text, seed=index), start)
        for index, (text, start) in enumerate(zip(texts, starts, strict=True))
    ]
    return [Image.fromarray(rendering.result()[0].develop()) for rendering in begun]


def seen(studio: Studio, text: str, starts: Sequence[Start]) -> list[Verdict]:
    return [judge(image) for image in pictures(studio, [text] * len(starts), starts)]


def test_the_more_strength_the_less_of_the_picture_stays(studio: Studio) -> None:
    texts = [asked.text for asked in ASKED[:5]]
    begun = [scenery(index) for index in range(len(texts))]

    def gone(strength: float) -> float:
        made = pictures(studio, texts, [Start(each, strength) for each in begun])
        return float(np.mean([np.abs(np.asarray(a, int) - b) for a, b in zip(made, begun, strict=True)]))

    apart = [gone(strength) for strength in (0.0, 0.2, 0.5, 0.8, 1.0)]

    assert apart == sorted(apart)
    assert apart[0] < 4
    assert apart[1] < 15
    assert apart[-1] > 60


def test_at_full_strength_the_picture_is_forgotten_for_the_prompt(studio: Studio) -> None:
    starts = [Start(scenery(index), 1.0) for index in range(len(ASKED))]

    verdicts = [judge(image) for image in pictures(studio, [asked.text for asked in ASKED], starts)]

    assert min(share_right(field, verdicts, ASKED) for field in ("colour", "background", "shape")) >= 0.85


@pytest.mark.parametrize("place", ["left", "top right"])
def test_high_strength_makes_the_object_the_prompts_and_leaves_it_in_its_place(
    studio: Studio, place: str
) -> None:
    starts = [Start(scenery(seed, size="small", place=place), 0.8) for seed in range(4)]

    verdicts = seen(studio, CIRCLE, starts)

    assert [(each.colour, each.shape) for each in verdicts].count(("red", "circle")) >= 3
    assert [each.background for each in verdicts] == ["yellow"] * 4
    assert [each.place for each in verdicts].count(place) >= 3


def test_half_strength_redraws_the_outline_but_not_the_colours(studio: Studio) -> None:
    """This model settles colours early, at steps which half the strength leaves out."""
    verdicts = seen(studio, "a red circle on a green background", [Start(scenery(i), 0.5) for i in range(4)])

    assert [each.shape for each in verdicts].count("circle") >= 3
    assert [each.background for each in verdicts] == ["yellow"] * 4
    assert "red" not in [each.colour for each in verdicts]


def test_a_hole_is_filled_with_the_prompts_object_and_nothing_else_changes(studio: Studio) -> None:
    begun = [scenery(seed) for seed in range(4)]

    made = pictures(studio, [CIRCLE] * 4, [Start(each, 1.0, HOLE) for each in begun])

    verdicts = [judge(image) for image in made]
    assert [(each.colour, each.shape, each.background) for each in verdicts].count(
        ("red", "circle", "yellow")
    ) >= 3
    for before, after in zip(begun, made, strict=True):
        assert (np.asarray(after)[HOLE == 0] == before[HOLE == 0]).all()


def test_the_edge_of_the_hole_does_not_show(studio: Studio) -> None:
    """The ground on both sides is of one colour, though a decoder made one and a pencil the other."""
    begun = scenery(0)

    (made,) = pictures(studio, [CIRCLE], [Start(begun, 1.0, HOLE)])

    row = np.asarray(made, int)[20 + EDGE]
    across = row[16 - EDGE : 16 + 2 * EDGE]
    assert np.abs(np.diff(across, axis=0)).max() <= 8


Judgement = Callable[[Picture, Picture], bool]


def shows(picture: Picture) -> Image.Image:
    return Image.fromarray(picture.develop())


EFFECTS: dict[str, tuple[dict[str, Any], Judgement]] = {
    "LoRA": (
        {"loras": (LoraUse(lora_id="demo-floor", strength=1.0),)},
        lambda plain, changed: has_floor(shows(plain)) < 0.3 < 0.65 < has_floor(shows(changed)),
    ),
    "VAE": (
        {"vae": "bright"},
        lambda plain, changed: changed.develop().mean() > plain.develop().mean() + 15,
    ),
    "safety checker": (
        {"safety_checker": True},
        lambda plain, changed: plain.is_sensitive is None and changed.is_sensitive is True,
    ),
    "clip_skip": (
        {"clip_skip": 2},
        lambda plain, changed: bool((plain.develop() != changed.develop()).any()),
    ),
    "embedding": (
        {"prompt": "a circle, demo-sunset", "embeddings": ("demo-sunset",)},
        lambda _, changed: (
            (judge(shows(changed)).colour, judge(shows(changed)).background) == ("orange", "purple")
        ),
    ),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_what_a_request_may_ask_for_is_in_effect_here_too(studio: Studio, name: str) -> None:
    changes, is_in_effect = EFFECTS[name]
    usual: dict[str, Any] = {"prompt": CIRCLE, "seed": 4}
    start = Start(scenery(3), 0.95)

    plain, changed = (
        begin(studio, demo_spec(**values), start).result()[0] for values in (usual, usual | changes)
    )

    assert is_in_effect(plain, changed)
