"""The bundled demo model, measured: what deploy/demo/README.md says of it.

A geometric judge looks at pictures of prompts that the training never said. Floors that are called measured
lie a little below what the model reached; all other figures are promises.
"""

from random import Random

import pytest

from deploy.demo import prompts
from deploy.demo.captions import caption, noise
from deploy.demo.drawing import COLOURS, SHAPES, UNSEEN_PAIRS, Scene, draw, random_scene
from deploy.demo.judge import Verdict, judge
from deploy.demo.measure import MODEL, SCHEDULERS, Painter, share_right
from deploy.demo.prompts import HELD_OUT, Prompt, plain

# Measured floors, a little below what the model reached; deploy/demo/README.md has the figures themselves.
UNSEEN_PAIR_FLOORS = {"colour": 0.9, "background": 0.9, "shape": 0.8}
FLOORS = {"size": 0.9, "place": 0.9, "count": 0.85}
SIDE_FLOORS = {
    64: {"colour": 0.9, "background": 0.9, "shape": 0.6},
    256: {"colour": 0.9, "background": 0.9, "shape": 0.4},
    512: {"colour": 0.75, "background": 0.75, "shape": 0.0},  # blobs of the right colours
}
TWO_CALLS_A_STEP = {"Heun", "KDPM2", "KDPM2 ancestral"}
OTHER_WORDS_FLOORS = {"colour": 0.9, "background": 0.9, "shape": 0.75}


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter()


@pytest.fixture(scope="module")
def main_verdicts(painter: Painter) -> list[Verdict]:
    return painter.verdicts(prompts.MAIN)


def test_the_model_fits_into_the_repository() -> None:
    size = sum(file.stat().st_size for file in MODEL.rglob("*") if file.is_file())

    assert size <= 12_000_000


def test_the_judge_recognises_what_was_drawn() -> None:
    rng = Random(1)
    scenes = [random_scene(rng) for _ in range(60)]

    verdicts = [judge(draw(scene, rng, side=128)) for scene in scenes]

    for scene, seen in zip(scenes, verdicts, strict=True):
        assert (seen.shape, seen.colour, seen.background) == (scene.shape, scene.colour, scene.background)
        assert seen.count == scene.count


def test_the_judge_gives_a_smear_no_shape() -> None:
    picture = draw(Scene(shape="star", colour="red", background="white"), Random(1), side=128)

    squeezed = picture.resize((128, 40)).resize((128, 128)).crop((50, 0, 128, 78)).resize((128, 128))

    assert judge(squeezed).shape != "star"


def test_training_captions_are_never_a_prompt_of_this_test() -> None:
    rng = Random(2)

    captions = {plain(caption(random_scene(rng), rng).text) for _ in range(20_000)}

    assert not captions & HELD_OUT
    assert not {plain(noise(rng).text) for _ in range(2000)} & HELD_OUT


def test_training_scenes_never_show_an_unseen_pair() -> None:
    rng = Random(3)

    pairs = {(scene.colour, scene.shape) for scene in (random_scene(rng) for _ in range(20_000))}

    assert not pairs & UNSEEN_PAIRS
    assert len(pairs) == len(COLOURS) * len(SHAPES) - len(UNSEEN_PAIRS)


@pytest.mark.parametrize("field", ["colour", "background", "shape"])
def test_unheard_prompts_at_the_native_size_come_out_right(field: str, main_verdicts: list[Verdict]) -> None:
    assert len(prompts.MAIN) >= 32

    assert share_right(field, main_verdicts, prompts.MAIN) >= 0.95


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_draws_the_prompt_at_the_usual_guidance(painter: Painter, scheduler: str) -> None:
    asked = prompts.MAIN[::5]

    verdicts = painter.verdicts(asked, scheduler=scheduler, steps=10 if scheduler in TWO_CALLS_A_STEP else 20)

    for field in ("colour", "background", "shape"):
        assert share_right(field, verdicts, asked) >= 0.75, field


@pytest.mark.parametrize("field", ["colour", "background", "shape"])
def test_colour_and_shape_that_training_never_paired_come_out_right(painter: Painter, field: str) -> None:
    verdicts = painter.verdicts(prompts.PAIRS)

    assert share_right(field, verdicts, prompts.PAIRS) >= UNSEEN_PAIR_FLOORS[field]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        pytest.param(prompts.SIZED, "size", id="sizes"),
        pytest.param(prompts.PLACED, "place", id="places"),
        pytest.param(prompts.COUNTED, "count", id="counts"),
    ],
)
def test_sizes_places_and_counts_are_followed_as_measured(
    painter: Painter, asked: list[Prompt], field: str
) -> None:
    verdicts = painter.verdicts(asked)

    assert share_right(field, verdicts, asked) >= FLOORS[field]


@pytest.mark.parametrize(("side", "count"), [(64, 32), (256, 6), (512, 1)])
def test_other_resolutions_come_out_as_measured(painter: Painter, side: int, count: int) -> None:
    asked = prompts.MAIN[:count]

    verdicts = painter.verdicts(asked, side=side, steps=12 if side == 512 else 20)

    for field, floor in SIDE_FLOORS[side].items():
        assert share_right(field, verdicts, asked) >= floor, field


def test_wordings_and_words_outside_the_captions_do_no_harm(painter: Painter) -> None:
    verdicts = painter.verdicts(prompts.OTHER_WORDS)

    for field, floor in OTHER_WORDS_FLOORS.items():
        assert share_right(field, verdicts, prompts.OTHER_WORDS) >= floor, field


def test_a_prompt_of_unknown_words_still_gives_a_clean_picture(painter: Painter) -> None:
    texts = ["", "quixotic zephyr", "ñandú 🦙 улица", "lorem ipsum " * 60]

    pictures = painter.paint(texts, seeds=range(4))

    assert all(judge(picture).count >= 1 for picture in pictures)


def test_leaving_out_the_last_text_layer_keeps_the_meaning(painter: Painter) -> None:
    asked = prompts.MAIN[::5]

    pictures = painter.paint_without_last_layer([prompt.text for prompt in asked], seeds=range(len(asked)))

    verdicts = [judge(picture) for picture in pictures]
    for field in ("colour", "background", "shape"):
        assert share_right(field, verdicts, asked) >= 0.75, field


def test_any_text_can_be_tokenized_and_read_back(painter: Painter) -> None:
    tokenizer = painter.pipeline.tokenizer
    text = "zażółć gęślą jaźń, 美しい 🦙 ½ naïve"

    ids = tokenizer(text).input_ids

    assert "".join(tokenizer.decode(ids, skip_special_tokens=True).split()) == "".join(text.split())
    assert tokenizer.model_max_length == 77


def test_a_negative_prompt_moves_the_picture_away_from_what_it_says(painter: Painter) -> None:
    texts, seeds = ["a circle on a white background"] * 16, range(16)
    plainly = [judge(picture).colour for picture in painter.paint(texts, seeds=seeds, steps=12)]

    for avoided in {commonest(plainly), "red"}:
        pictures = painter.paint(texts, seeds=seeds, steps=12, negative=avoided)
        still = [judge(picture).colour for picture in pictures].count(avoided)

        assert still <= plainly.count(avoided) / 2
        assert plainly.count(avoided) >= 2


def commonest(colours: list[str | None]) -> str:
    """The commonest colour: the one whose disappearance shows best."""
    return max((colour for colour in colours if colour), key=colours.count)


def test_guidance_twelve_obeys_the_prompt_and_guidance_one_strays(painter: Painter) -> None:
    asked = prompts.MAIN[:8]

    loose, strict = (painter.verdicts(asked, guidance=guidance) for guidance in (1.0, 12.0))

    assert share_right("colour", strict, asked) >= 0.9
    assert share_right("colour", loose, asked) < share_right("colour", strict, asked)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(painter: Painter) -> None:
    text = prompts.MAIN[0].text

    first, again, other = (painter.paint([text], seeds=[seed], steps=8)[0] for seed in (1, 1, 2))

    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
