"""The words of the demo model: captions for scenes, in many wordings, and what each caption really says.

Not for the prompts that measure the model (prompts.py); this module only makes sure never to say one of them.
"""

from dataclasses import dataclass
from random import Random

from deploy.demo.drawing import COLOURS, PLACES, SHAPES, Scene
from deploy.demo.prompts import HELD_OUT, plain


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COLOUR_NAMES: dict[str, tuple[str, ...]] = {name: (name,) for name in COLOURS} | {
    "gray": ("gray", "grey"),
    "purple": ("purple", "purple", "violet"),
    "cyan": ("cyan", "cyan", "turquoise"),
}
SHAPE_NAMES: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "circle", "circle", "disc", "ball", "dot"),
    "square": ("square", "square", "square", "box", "block"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "diamond": ("diamond", "diamond", "rhombus"),
    "cross": ("cross", "cross", "plus sign"),
    "ring": ("ring", "ring", "donut", "hoop"),
}
PLURALS = {"box": "boxes", "cross": "crosses", "rhombus": "rhombuses"}
SIZE_NAMES = {"small": ("small", "small", "tiny", "little"), "large": ("large", "large", "big", "huge")}
PLACE_NAMES: dict[str, tuple[str, ...]] = {
    "centre": ("in the centre", "in the center", "in the middle", "centered"),
    "left": ("on the left", "on the left side", "at the left", "to the left"),
    "right": ("on the right", "on the right side", "at the right", "to the right"),
    "top": ("at the top", "on top", "above"),
    "bottom": ("at the bottom", "below", "near the bottom"),
} | {
    place: (f"in the {place}", f"in the {place} corner", f"at the {place}")
    for place in PLACES
    if " " in place
}
COUNT_NAMES = {2: ("two", "two", "2", "a pair of"), 3: ("three", "three", "3")}
SEVERAL = ("some", "several", "")

GROUNDS = (
    "wall",
    "sky",
    "canvas",
    "field",
    "paper",
    "page",
    "surface",
    "floor",
    "backdrop",
    "table",
    "sheet",
)
PREPOSITIONS = ("on", "on", "on", "over", "in front of", "against", "with", "upon", "before")
OPENINGS = (
    "a picture of",
    "a photo of",
    "an image of",
    "a drawing of",
    "a painting of",
    "an illustration of",
    "a portrait of",
    "a render of",
    "picture of",
    "draw",
    "please draw",
    "show me",
    "there is",
    "this is",
    "I want",
    "make",
    "generate",
    "imagine",
    "just",
)
ADJECTIVES = _words(
    """
    nice beautiful shiny bright plain simple flat clean lovely perfect cute vivid bold solid smooth
    glossy single geometric dark deep light pale colorful pretty
    """
)
STYLE = (
    "8k",
    "4k",
    "RAW",
    "f/1.4",
    "ISO 200",
    "1/160s",
    "masterpiece",
    "best quality",
    "highly detailed",
    "ultra realistic",
    "ultra realistic close up portrait",
    "beautiful pale cyberpunk female with heavy eyeliner",
    "sharp focus",
    "cinematic lighting",
    "trending on artstation",
    "digital art",
    "vector art",
    "illustration",
    "studio photo",
    "oil on linen",
    "in the style of an old master",
    "minimalist",
    "award winning",
    "intricate",
    "soft light",
    "35mm",
    "bokeh",
    "hdr",
    "symmetrical",
    "low poly",
    "blurry",
    "low quality",
    "worst quality",
    "jpeg artifacts",
    "bad anatomy",
    "deformed",
    "ugly",
    "watermark",
    "text",
    "nsfw",
)
OTHER_WORDS = _words(
    """
    cat dog horse bird fish tree flower house car boat train bridge mountain river lake sea forest
    garden city street castle tower robot astronaut knight queen king woman man girl boy child face eyes
    hair dress hat coat sword book lamp chair window door cloud rain snow fire water smoke sun moon
    night day morning evening winter summer spring autumn happy sad angry quiet wild ancient modern
    future past fast slow high low long short very quite and or but because while near under between
    through running sitting standing looking holding wearing drinking eating sleeping flying made seen
    painted hyper super mega render photography camera lens film beach desert island planet space galaxy
    dragon wolf bear fox owl apple cake coffee tea bread music dance hello world test demo prompt one
    thing my your his her its their of for from by without no not
    """
)
ONSETS = [*"bcdfghjklmnprstvwzшжкпéü日本", "br", "ch", "dr", "fl", "gr", "kl", "pr", "qu", "sch", "st", "tr"]
VOWELS = [*"aeiouáöи語", "ai", "ou", "ee", "ia"]
ENDINGS = ("", "", "n", "r", "s", "t", "l", "ck", "ng", "rst", "м", "字")


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a caption says about its picture; None where it leaves that open."""

    shape: str | None = None
    colour: str | None = None
    background: str | None = None
    size: str | None = None
    place: str | None = None
    count: str | None = None


@dataclass(frozen=True, kw_only=True)
class Caption:
    text: str
    said: Said


NOTHING = Caption(text="", said=Said())


def caption(scene: Scene, rng: Random) -> Caption:
    """A caption that is true of the scene, mostly complete, and never one of the held-out prompts."""
    return caption_saying(_chosen(scene, rng), rng)


def caption_saying(said: Said, rng: Random) -> Caption:
    """A caption that says just this, in any wording, and is never one of the held-out prompts."""
    while True:
        text = _decorated(_sentence(said, rng), rng)
        if plain(text) not in HELD_OUT:
            return Caption(text=text, said=said)


def noise(rng: Random) -> Caption:
    """Words that say nothing about shapes or colours: the model should take them for no caption at all."""
    if rng.random() < 0.2:
        return NOTHING
    pieces = [_filler(rng) for _ in range(rng.choice([1, 1, 2, 3, 6, 12]))]
    return Caption(text=rng.choice([" ", ", "]).join(pieces), said=Said())


def _chosen(scene: Scene, rng: Random) -> Said:
    """Which of the scene's properties to name. Fragments ("red") are what negative prompts are made of."""
    if rng.random() < 0.06:
        fragments = [Said(shape=scene.shape), Said(background=scene.background), Said(colour=scene.colour)]
        return rng.choices(fragments, [1, 1, 2])[0]
    several = scene.count > 1 and rng.random() < 0.25
    return Said(
        shape=scene.shape if rng.random() < 0.97 else None,
        colour=scene.colour if rng.random() < 0.94 else None,
        background=scene.background if rng.random() < 0.92 else None,
        size=scene.size if scene.count == 1 and scene.size != "medium" and rng.random() < 0.9 else None,
        place=_place_said(scene, rng),
        count="several" if several else str(scene.count),
    )


def _place_said(scene: Scene, rng: Random) -> str | None:
    if scene.count > 1:
        return None
    return scene.place if rng.random() < (0.15 if scene.place == "centre" else 0.9) else None


def _sentence(said: Said, rng: Random) -> str:
    if said.count is None:
        if said.background:
            return f"{said.background} {rng.choice(['background', 'background', *GROUNDS])}"
        return _colour(said, rng) or _name(SHAPE_NAMES[said.shape or "circle"], rng)
    thing, place = _thing(said, rng), rng.choice(PLACE_NAMES[said.place]) if said.place else ""
    if said.background is None:
        return _joined(place, thing) if rng.random() < 0.15 else _joined(thing, place)
    ground = _name(COLOUR_NAMES[said.background], rng)
    surface = rng.choice(
        [f"a {ground} background"] * 4 + [f"{ground} background", f"a {ground} {rng.choice(GROUNDS)}"]
    )
    surface = rng.choice(
        [surface] * 8 + [ground, f"a background of {ground}", f"a {ground} {rng.choice(GROUNDS)}"]
    )
    backed = f"{rng.choice(PREPOSITIONS)} {surface}"
    forms = [
        _joined(thing, place, backed),
        _joined(thing, place, backed),
        _joined(thing, backed, place),
        f"{_joined(thing, place)}, {ground} background",
        f"{_joined(thing, place)}, {ground} {rng.choice(['background', 'bg', 'backdrop', *GROUNDS])}",
        f"{ground} background, {_joined(thing, place)}",
        _joined(f"a {ground} background with", thing, place),
        f"{backed}, {_joined(thing, place)}",
        f"{_joined(thing, place)}, the background is {ground}",
        f"background: {ground}, object: {_joined(thing, place)}",
    ]
    if said.colour and said.count == "1" and said.shape:
        shape = _name(SHAPE_NAMES[said.shape], rng)
        sized = _joined(_size(said, rng), shape)
        colour = _colour(said, rng)
        forms += [
            _joined(f"the {sized} is {colour} and the background is {ground}", place),
            _joined(f"{sized} in {colour} {rng.choice(['on', 'over'])} {ground}", place),
            _joined(f"a {sized} in {colour}", place, backed),
            f"{_joined(sized, place)}, {colour}, {ground} background",
        ]
    return rng.choice(forms)


def _thing(said: Said, rng: Random) -> str:
    """The objects' own words: count or article, size, colour, shape, now and then an empty adjective."""
    noun = (
        _name(SHAPE_NAMES[said.shape], rng)
        if said.shape
        else rng.choice(["thing", "shape", "object", "figure"])
    )
    if said.count == "1":
        first = rng.choice(["a", "a", "a", "the", "one", ""])
    else:
        noun = PLURALS.get(noun, f"{noun}s")
        first = rng.choice(SEVERAL if said.count == "several" else COUNT_NAMES[int(said.count or 2)])
    adjective = rng.choice(ADJECTIVES) if rng.random() < 0.12 else ""
    words = [_size(said, rng), adjective, _colour(said, rng), noun]
    if said.size and rng.random() < 0.15:
        words = [adjective, _colour(said, rng), _size(said, rng), noun]
    return _joined(first, *words)


def _size(said: Said, rng: Random) -> str:
    return rng.choice(SIZE_NAMES[said.size]) if said.size else ""


def _colour(said: Said, rng: Random) -> str:
    if said.colour is None:
        return ""
    return _joined("bright" if rng.random() < 0.03 else "", _name(COLOUR_NAMES[said.colour], rng))


def _decorated(text: str, rng: Random) -> str:
    """Empty words before and after, other punctuation, other case: nothing that changes the meaning."""
    if rng.random() < 0.2:
        text = _joined(rng.choice(OPENINGS), text)
    if rng.random() < 0.22:
        text = ", ".join([text, *(_filler(rng) for _ in range(rng.choice([1, 2, 3, 5, 9])))])
    if rng.random() < 0.12:
        text = ", ".join([*(_filler(rng) for _ in range(rng.choice([1, 2, 4]))), text])
    if rng.random() < 0.12:
        text += rng.choice([".", "!", " !!", ";", " ..."])
    return rng.choice([str.upper, str.title, str.capitalize])(text) if rng.random() < 0.1 else text


def _filler(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(STYLE)
    if kind < 0.8:
        return " ".join(rng.choice(OTHER_WORDS) for _ in range(rng.randint(1, 4)))
    return " ".join(_invented_word(rng) for _ in range(rng.randint(1, 3)))


def _invented_word(rng: Random) -> str:
    """A word that nobody knows, sometimes in another script, sometimes a number."""
    if rng.random() < 0.15:
        return str(rng.randint(0, 9999))
    syllables = rng.randint(1, 3)
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(syllables)) + rng.choice(ENDINGS)


def _name(names: tuple[str, ...], rng: Random) -> str:
    return rng.choice(names)


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)


def vocabulary() -> list[str]:
    """Every word that means something here, so that each becomes one token."""
    phrases = [
        *SHAPES,
        *GROUNDS,
        *PREPOSITIONS,
        *ADJECTIVES,
        *SEVERAL,
        *PLURALS.values(),
        "background",
        "a the in is",
    ]
    groups = [COLOUR_NAMES, SHAPE_NAMES, SIZE_NAMES, PLACE_NAMES, COUNT_NAMES]
    phrases += [name for group in groups for names in group.values() for name in names]  # type: ignore[attr-defined]
    phrases += [f"{name}s" for names in SHAPE_NAMES.values() for name in names]
    return [word for phrase in phrases for word in phrase.split()]
