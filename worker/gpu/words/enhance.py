"""The built-in enhancer: style words after a prompt, and what nobody wants after a negative prompt.

What the picture shows is the user's. So their words stay first and as they came, and no phrase here names a
colour, a shape, a size, a place, a background or a medium: "studio photo" after "watercolour of a cat" would
change the picture, "sharp focus" does not. What a prompt says already is not said again, so to enhance an
enhanced prompt adds nothing. The same seed draws the same phrases on every machine.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from random import Random

WEIGHT = re.compile(r":\s*[+-]?(?:\d+(?:\.\d+)?|\.\d+)\s*(?=[)\]])")
"""The number in `(word:1.3)`, which is no word of the prompt."""
WORD_OR_STOP = re.compile(r"[^\W_]+|[,;|\n]")
"""Words count as neighbours through brackets, dashes and underscores, but not through a comma."""
STOPS = frozenset(",;|\n")


@dataclass(frozen=True)
class Words:
    """What the model is given."""

    prompt: str
    negative_prompt: str


@dataclass(frozen=True)
class Group:
    """Phrases that say one thing about style; a prompt gets one of them, unless it says that thing already.

    Every phrase says a marker or is one, so a group that was drawn from is never drawn from again.
    """

    markers: tuple[str, ...]
    phrases: tuple[str, ...]
    only_with: tuple[str, ...] = ()
    """If given, the group is for prompts that say one of these."""


PHOTO_WORDS = ("photo", "photos", "photograph", "photography", "photographic", "photorealistic", "selfie")

GROUPS = (
    Group(
        markers=("light", "lights", "lighting", "lit", "backlit", "sunlight", "moonlight", "glow", "glowing"),
        phrases=(
            "cinematic lighting",
            "soft diffused lighting",
            "volumetric lighting",
            "dramatic lighting",
            "natural lighting",
        ),
    ),
    Group(
        markers=("detail", "details", "detailed", "intricate", "ornate"),
        phrases=(
            "highly detailed",
            "intricate details",
            "finely detailed",
            "rich in detail",
            "meticulous details",
            "carefully detailed",
        ),
    ),
    Group(
        markers=("focus", "focused", "sharp", "crisp", "blur", "blurred", "blurry", "hazy"),
        phrases=("sharp focus", "crisp and sharp", "crisp focus", "tack sharp", "precise focus"),
    ),
    Group(
        markers=("composition", "composed", "framed", "framing", "symmetry", "symmetrical", "symmetric"),
        phrases=(
            "harmonious composition",
            "well composed",
            "thoughtful composition",
            "elegant composition",
            "considered framing",
        ),
    ),
    Group(
        markers=("mood", "moody", "atmosphere", "atmospheric", "ambience", "ambient"),
        phrases=(
            "atmospheric",
            "immersive atmosphere",
            "evocative mood",
            "subtle atmosphere",
            "expressive mood",
        ),
    ),
    Group(
        markers=("4k", "8k", "16k", "hd", "uhd", "resolution", "res", "hires", "highres"),
        phrases=("8K", "4K", "ultra HD", "high resolution", "8K UHD"),
    ),
    Group(
        markers=(
            "quality",
            "masterpiece",
            "professional",
            "professionally",
            "award",
            "masterful",
            "polished",
        ),
        phrases=(
            "masterpiece",
            "best quality",
            "award winning",
            "professional finish",
            "masterful work",
            "exceptional quality",
        ),
    ),
    Group(
        markers=(
            "camera",
            "lens",
            "mm",
            "35mm",
            "50mm",
            "85mm",
            "iso",
            "dslr",
            "canon",
            "nikon",
            "f 1",
            "f 2",
        ),
        phrases=("85mm lens", "50mm lens", "prime lens", "f/1.8 lens", "ISO 100"),
        only_with=PHOTO_WORDS,
    ),
)

NEGATIVES = (
    "low quality",
    "worst quality",
    "jpeg artifacts",
    "blurry",
    "watermark",
    "signature",
    "cropped",
    "bad anatomy",
    "deformed",
)


def enhance(prompt: str, negative_prompt: str, seed: int) -> Words:
    """Both prompts as they came, with what they lack after them."""
    return Words(
        prompt=joined(prompt, style_phrases(prompt, seed)),
        negative_prompt=enhance_negative(negative_prompt, prompt),
    )


def style_phrases(prompt: str, seed: int) -> list[str]:
    """One phrase of each group that the prompt says nothing about.

    Every group draws, wanted or not, so a word more in the prompt leaves the other groups' phrases alone.
    `random()` and not `choice()`: only its numbers are promised to be the same in every version of Python.
    """
    said, random = plain(prompt), Random(seed)
    drawn = [(group, group.phrases[int(random.random() * len(group.phrases))]) for group in GROUPS]
    return [phrase for group, phrase in drawn if _lacks(said, group)]


def enhance_negative(negative_prompt: str, prompt: str) -> str:
    """The boilerplate that is not there yet; what the prompt itself asks for is not forbidden."""
    unwanted, wanted = plain(negative_prompt), plain(prompt)
    added = [phrase for phrase in NEGATIVES if not (says(unwanted, phrase) or says(wanted, phrase))]
    return joined(negative_prompt, added)


def _lacks(said: str, group: Group) -> bool:
    if group.only_with and not any(says(said, word) for word in group.only_with):
        return False
    return not any(says(said, phrase) for phrase in (*group.markers, *group.phrases))


def joined(text: str, phrases: list[str]) -> str:
    """`text` to the letter, then the phrases behind commas; none is needed after BREAK or a last comma."""
    if not phrases:
        return text
    ending = text.rstrip()
    if not ending:
        gap = ""
    elif ending[-1] in STOPS or ending.split()[-1] == "BREAK":
        gap = "" if text != ending else " "
    else:
        gap = ", "
    return text + gap + ", ".join(phrases)


def plain(text: str) -> str:
    """The words of a prompt in lower case between single spaces, without brackets and weights."""
    found = WORD_OR_STOP.findall(WEIGHT.sub("", text).casefold())
    return f" {' '.join(',' if word in STOPS else word for word in found)} "


def says(said: str, phrase: str) -> bool:
    """Whether a prompt that went through `plain` has the phrase in it, as whole words side by side."""
    return _plain_phrase(phrase) in said


@lru_cache
def _plain_phrase(phrase: str) -> str:
    return plain(phrase)
