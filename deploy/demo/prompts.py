"""The prompts that measure the demo model, with what each should show. Training never says one of them.

Not for training: captions.py makes those sentences and skips every one that is listed here.
"""

from dataclasses import dataclass
from random import Random

from deploy.demo.drawing import COLOURS, COUNTS, PLACES, SHAPES, UNSEEN_PAIRS, Scene, Size

WORDINGS = (
    "a {colour} {shape} on a {background} background",
    "{colour} {shape}, {background} background",
    "A {colour} {shape} on {background}.",
    "a picture of a {colour} {shape} in front of a {background} wall",
)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    text: str
    scene: Scene


def plain(text: str) -> str:
    """Lower case, words only: two texts that differ in nothing else are the same prompt."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def _colour_pairs(rng: Random, shape: str, *, unseen: bool) -> tuple[str, str]:
    while True:
        colour, background = rng.sample(list(COLOURS), 2)
        if ((colour, shape) in UNSEEN_PAIRS) == unseen:
            return colour, background


def _main(rng: Random) -> list[Prompt]:
    """Forty prompts: every shape five times, ten in each of the wordings."""
    prompts = []
    for index in range(5 * len(SHAPES)):
        shape = SHAPES[index % len(SHAPES)]
        colour, background = _colour_pairs(rng, shape, unseen=False)
        text = WORDINGS[index // 2 % len(WORDINGS)].format(colour=colour, shape=shape, background=background)
        prompts.append(Prompt(text=text, scene=Scene(shape=shape, colour=colour, background=background)))
    return prompts


def _unseen_pairs(rng: Random) -> list[Prompt]:
    prompts = []
    for colour, shape in sorted(UNSEEN_PAIRS):
        background = rng.choice([name for name in COLOURS if name != colour])
        text = WORDINGS[0].format(colour=colour, shape=shape, background=background)
        prompts.append(Prompt(text=text, scene=Scene(shape=shape, colour=colour, background=background)))
    return prompts


def _sizes(rng: Random) -> list[Prompt]:
    prompts = []
    for index, shape in enumerate(SHAPES * 2):
        colour, background = _colour_pairs(rng, shape, unseen=False)
        size: Size = "small" if index < len(SHAPES) else "large"
        text = f"a {size} {colour} {shape} on a {background} background"
        scene = Scene(shape=shape, colour=colour, background=background, size=size)
        prompts.append(Prompt(text=text, scene=scene))
    return prompts


def _places(rng: Random) -> list[Prompt]:
    words = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
    prompts = []
    for index, shape in enumerate(SHAPES * 2):
        colour, background = _colour_pairs(rng, shape, unseen=False)
        place = [name for name in PLACES if name in words][index % 4]
        text = f"a {colour} {shape} {words[place]} on a {background} background"
        scene = Scene(shape=shape, colour=colour, background=background, place=place)
        prompts.append(Prompt(text=text, scene=scene))
    return prompts


def _counts(rng: Random) -> list[Prompt]:
    words = {2: "two", 3: "three"}
    prompts = []
    for index, shape in enumerate(SHAPES * 2):
        colour, background = _colour_pairs(rng, shape, unseen=False)
        count = COUNTS[1:][index // len(SHAPES)]
        plural = "crosses" if shape == "cross" else f"{shape}s"
        text = f"{words[count]} {colour} {plural} on a {background} background"
        scene = Scene(shape=shape, colour=colour, background=background, count=count)
        prompts.append(Prompt(text=text, scene=scene))
    return prompts


def _other_words(rng: Random) -> list[Prompt]:
    """Wordings and words that no training caption has."""
    wordings = (
        "ultra realistic close up portrait of a {colour} {shape} on a {background} background, 8K, RAW",
        "a dreamy {colour} {shape} floating before an endless {background} background, by aunt Zdenka",
        "Could you paint one {colour} {shape} with a {background} background for the kitchen?",
        "xylophone quasar {colour} {shape} blorptastic, {background} background, flumph, \N{SNOWMAN}",
        "ein Bild: a {colour} {shape} on a {background} background, sehr schön, très joli, 美しい",
        "{background} background, and in front of it stands a {colour} {shape}, wow",
    )
    prompts = []
    for index, wording in enumerate(wordings * 4):
        shape = SHAPES[(index + index // len(SHAPES)) % len(SHAPES)]
        colour, background = _colour_pairs(rng, shape, unseen=False)
        text = wording.format(colour=colour, shape=shape, background=background)
        prompts.append(Prompt(text=text, scene=Scene(shape=shape, colour=colour, background=background)))
    return prompts


MAIN = _main(Random(101))
PAIRS = _unseen_pairs(Random(102))
SIZED = _sizes(Random(103))
PLACED = _places(Random(104))
COUNTED = _counts(Random(105))
OTHER_WORDS = _other_words(Random(106))

HELD_OUT = frozenset(
    plain(prompt.text) for prompts in (MAIN, PAIRS, SIZED, PLACED, COUNTED, OTHER_WORDS) for prompt in prompts
)
