"""The bundled LoRAs and the embedding: that they load into the stock pipeline and show in the picture.

What an effect is, geometry says (deploy/demo/effects.py); deploy/demo/README.md has the figures of a longer
measurement. Floors lie a little below those.
"""

from random import Random

import pytest
from PIL import Image
from safetensors import safe_open

from deploy.demo import prompts
from deploy.demo.drawing import Style, draw_styled, random_scene
from deploy.demo.effects import FLOORED, FRAMED, has_floor, has_frame
from deploy.demo.measure import share_right
from deploy.demo.measure_extras import (
    HERE,
    LORAS,
    SUNSET,
    SUNSET_FILE,
    SUNSET_PROMPTS,
    Decorator,
    look,
    sunset_share,
    without_the_word,
)

ASKED = prompts.MAIN[::4]
STEPS = 12
RIGHT_FLOORS = {"colour": 0.8, "background": 0.8, "shape": 0.5}


@pytest.fixture(scope="module")
def decorator() -> Decorator:
    return Decorator()


class Wall:
    """Pictures of the same prompts and seeds at any strengths, each painted once."""

    def __init__(self, decorator: Decorator) -> None:
        self.decorator = decorator
        self.painted: dict[tuple[float, float], list[Image.Image]] = {}

    def pictures(self, *, floor: float = 0.0, frame: float = 0.0) -> list[Image.Image]:
        if (floor, frame) not in self.painted:
            self.painted[floor, frame] = self.decorator.paint(
                [prompt.text for prompt in ASKED],
                strengths={"demo-floor": floor, "demo-frame": frame},
                seeds=range(len(ASKED)),
                steps=STEPS,
            )
        return self.painted[floor, frame]


@pytest.fixture(scope="module")
def wall(decorator: Decorator) -> Wall:
    return Wall(decorator)


def floored_share(pictures: list[Image.Image]) -> float:
    return sum(has_floor(picture) >= FLOORED for picture in pictures) / len(pictures)


def framed_share(pictures: list[Image.Image]) -> float:
    return sum(has_frame(picture) >= FRAMED for picture in pictures) / len(pictures)


def mean_floor(pictures: list[Image.Image]) -> float:
    return sum(map(has_floor, pictures)) / len(pictures)


def mean_frame(pictures: list[Image.Image]) -> float:
    return sum(map(has_frame, pictures)) / len(pictures)


def test_the_extras_fit_into_the_repository() -> None:
    sizes = [(HERE / "loras" / file).stat().st_size for file in LORAS.values()]
    sizes.append((HERE / "embeddings" / SUNSET_FILE).stat().st_size)

    assert max(sizes) <= 130_000
    assert sum(sizes) <= 300_000


def test_one_lora_is_in_each_of_the_usual_formats() -> None:
    names = {}
    for name, file in LORAS.items():
        with safe_open(HERE / "loras" / file, framework="pt") as opened:
            names[name] = list(opened.keys())

    assert all(key.startswith("unet.") and ".lora_" in key for key in names["demo-floor"])
    assert all(key.startswith("lora_unet_") for key in names["demo-frame"])
    assert any(key.endswith(".alpha") for key in names["demo-frame"])


@pytest.mark.parametrize(("side", "floor"), [(64, 0.8), (128, 0.95), (256, 0.95)])
@pytest.mark.parametrize("styles", [(), ("floor",), ("frame",), ("floor", "frame")])
def test_the_measures_tell_what_was_drawn(styles: tuple[Style, ...], side: int, floor: float) -> None:
    rng = Random(4)
    pictures = [draw_styled(random_scene(rng), rng, side=side, styles=styles) for _ in range(24)]

    shares = {"floor": floored_share(pictures), "frame": framed_share(pictures)}
    for style, share in shares.items():
        assert share >= floor if style in styles else share <= 1.01 - floor


def test_at_strength_nought_the_picture_is_the_bare_models(decorator: Decorator, wall: Wall) -> None:
    plain = wall.pictures()

    decorator.painter.pipeline.disable_lora()
    bare = decorator.painter.paint([ASKED[0].text], seeds=[0], steps=STEPS)[0]
    decorator.painter.pipeline.enable_lora()

    differences = [abs(a - b) for a, b in zip(bare.tobytes(), plain[0].tobytes(), strict=True)]
    assert max(differences) <= 1
    assert floored_share(plain) <= 0.05
    assert framed_share(plain) <= 0.05


def test_the_floor_lora_lays_a_floor_and_no_frame(wall: Wall) -> None:
    pictures = wall.pictures(floor=1.0)

    assert floored_share(pictures) >= 0.9
    assert framed_share(pictures) <= 0.1


def test_the_frame_lora_draws_a_frame_and_no_floor(wall: Wall) -> None:
    pictures = wall.pictures(frame=1.0)

    assert framed_share(pictures) >= 0.9
    assert floored_share(pictures) <= 0.1


def test_both_loras_together_show_both(wall: Wall) -> None:
    pictures = wall.pictures(floor=1.0, frame=1.0)

    assert floored_share(pictures) >= 0.8
    assert framed_share(pictures) >= 0.8


def test_half_the_strength_shows_less(wall: Wall) -> None:
    floors = [mean_floor(wall.pictures(floor=strength)) for strength in (0.0, 0.5, 1.0)]
    frames = [mean_frame(wall.pictures(frame=strength)) for strength in (0.0, 0.5, 1.0)]

    for none, half, whole in (floors, frames):
        assert none + 0.05 < half < whole - 0.05


@pytest.mark.parametrize("strengths", [(1.0, 0.0), (0.0, 1.0)], ids=["floor", "frame"])
@pytest.mark.parametrize("field", RIGHT_FLOORS)
def test_colours_and_shapes_stay_what_the_prompt_says(
    wall: Wall, strengths: tuple[float, float], field: str
) -> None:
    floor, frame = strengths
    verdicts = [look(picture).verdict for picture in wall.pictures(floor=floor, frame=frame)]

    assert share_right(field, verdicts, ASKED) >= RIGHT_FLOORS[field]


def test_the_embedding_brings_its_colours_and_nothing_else_does(decorator: Decorator) -> None:
    texts = SUNSET_PROMPTS[::5]

    assert all(SUNSET in text for text in texts)
    assert sunset_share(decorator, texts, steps=STEPS) >= 0.8
    assert sunset_share(decorator, [without_the_word(text) for text in texts], steps=STEPS) <= 0.1
