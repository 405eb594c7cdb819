"""The built-in enhancer adds style and nothing else, once, and leaves the user's words alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.captions import COLOUR_NAMES, SHAPE_NAMES, SIZE_NAMES
from worker.gpu.words.enhance import GROUPS, NEGATIVES, PHOTO_WORDS, enhance, plain, says, style_phrases

STYLES = [phrase for group in GROUPS for phrase in group.phrases]
EXPECTED_OF_SEED_7 = (
    "a red circle on a blue background, "
    "soft diffused lighting, highly detailed, tack sharp, "
    "harmonious composition, evocative mood, 4K, masterpiece"
)
SYNTAX = set("()[]{}<>:|\\")
OTHER_COLOURS = {"golden", "gold", "silver", "colour", "color", "colourful", "colorful", "monochrome", "dark"}
PLACES = {
    "left",
    "right",
    "top",
    "bottom",
    "centre",
    "center",
    "centered",
    "centred",
    "middle",
    "above",
    "below",
}
BACKGROUNDS = {
    "background",
    "backdrop",
    "wall",
    "sky",
    "floor",
    "field",
    "paper",
    "canvas",
    "studio",
    "scene",
}
MEDIA = {"photo", "painting", "drawing", "illustration", "render", "anime", "watercolour", "art", "sketch"}

PIECES = st.sampled_from(
    [
        *STYLES,
        *(
            "cat",
            "a red circle",
            "photo",
            "BREAK",
            "AND",
            ",",
            ", ",
            ";",
            "|",
            "\n",
            " ",
            "\\(",
            ":1.3",
            ":",
            "1.3",
        ),
        *(
            "(",
            ")",
            "((",
            "))",
            "[",
            "]",
            "<lora:x:0.5>",
            "(8K:1.2)",
            "highly_detailed",
            "sharp-focus",
            "ß",
            "İ",
        ),
    ]
)
PROMPTS = st.text(max_size=60) | st.lists(PIECES, max_size=12).map("".join) | st.lists(PIECES).map(" ".join)
SEEDS = st.integers(min_value=0, max_value=2**32 - 1)


def count(text: str, phrase: str) -> int:
    return plain(text).count(plain(phrase))


@given(PROMPTS, PROMPTS, SEEDS)
def test_the_users_words_stay_first_and_as_they_came(prompt: str, negative: str, seed: int) -> None:
    words = enhance(prompt, negative, seed)

    assert words.prompt.startswith(prompt)
    assert words.negative_prompt.startswith(negative)


@given(PROMPTS, PROMPTS, SEEDS, SEEDS)
def test_enhancing_twice_adds_nothing(prompt: str, negative: str, seed: int, other: int) -> None:
    once = enhance(prompt, negative, seed)

    assert enhance(once.prompt, once.negative_prompt, other) == once


@given(PROMPTS, PROMPTS, SEEDS)
def test_nothing_is_said_twice(prompt: str, negative: str, seed: int) -> None:
    words = enhance(prompt, negative, seed)

    for phrase in STYLES:
        assert count(words.prompt, phrase) <= max(1, count(prompt, phrase)), phrase
    for phrase in NEGATIVES:
        assert count(words.negative_prompt, phrase) <= max(1, count(negative, phrase)), phrase


@given(PROMPTS, PROMPTS, SEEDS)
def test_what_is_added_has_no_syntax(prompt: str, negative: str, seed: int) -> None:
    words = enhance(prompt, negative, seed)

    assert not SYNTAX & set(words.prompt[len(prompt) :])
    assert not SYNTAX & set(words.negative_prompt[len(negative) :])


@given(PROMPTS, PROMPTS, SEEDS)
def test_the_same_seed_gives_the_same_words(prompt: str, negative: str, seed: int) -> None:
    assert enhance(prompt, negative, seed) == enhance(prompt, negative, seed)


def test_these_words_are_what_seed_7_gives_on_every_machine() -> None:
    assert enhance("a red circle on a blue background", "", 7).prompt == EXPECTED_OF_SEED_7


def test_other_seeds_give_other_words() -> None:
    assert len({enhance("a cat", "", seed).prompt for seed in range(20)}) >= 15


def test_each_style_phrase_is_drawn_by_some_seed() -> None:
    drawn = {phrase for seed in range(300) for phrase in style_phrases("photo of a cat", seed)}

    assert drawn == set(STYLES)


@given(SEEDS)
def test_a_bare_prompt_gets_one_phrase_of_each_group(seed: int) -> None:
    added = style_phrases("a cat", seed)

    assert 6 <= len(added) <= 8
    assert [sum(phrase in group.phrases for phrase in added) for group in GROUPS[:-1]] == [1] * 7


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat, highly detailed",
        "a cat, ((highly detailed))",
        "a cat, (highly detailed:1.3)",
        "a cat, (highly:1.2) detailed",
        "a cat, [Highly_Detailed]",
        "a cat with many details",
    ],
)
def test_a_group_that_the_prompt_covers_in_any_syntax_adds_nothing(prompt: str) -> None:
    details = next(group for group in GROUPS if "detail" in group.markers)

    for seed in range(20):
        assert not set(style_phrases(prompt, seed)) & set(details.phrases)


def test_part_of_a_word_covers_no_group() -> None:
    light = next(group for group in GROUPS if "light" in group.markers)

    assert set(style_phrases("a lighthouse", 1)) & set(light.phrases)


def test_a_lens_is_named_only_for_photos() -> None:
    lenses = next(group for group in GROUPS if group.only_with == PHOTO_WORDS)

    assert set(style_phrases("a photo of a cat", 1)) & set(lenses.phrases)
    assert not set(style_phrases("a watercolour of a cat", 1)) & set(lenses.phrases)


def test_another_word_in_the_prompt_leaves_the_other_groups_phrases_alone() -> None:
    assert [p for p in style_phrases("a cat", 5) if p not in style_phrases("a cat, 8K", 5)] == [
        p for p in style_phrases("a cat", 5) if says(plain(p), "8K") or p in resolutions()
    ]


def resolutions() -> tuple[str, ...]:
    return next(group.phrases for group in GROUPS if "8k" in group.markers)


@pytest.mark.parametrize(
    ("prompt", "gap"),
    [
        ("a cat", ", "),
        ("a cat ", ", "),
        ("a cat,", " "),
        ("a cat, ", ""),
        ("a cat BREAK", " "),
        ("a cat BREAK\n", ""),
        ("(a cat:1.3)", ", "),
        ("", ""),
        ("  ", ""),
    ],
)
def test_what_is_added_is_set_apart(prompt: str, gap: str) -> None:
    added = ", ".join(style_phrases(prompt, 3))

    assert enhance(prompt, "", 3).prompt == prompt + gap + added


def test_an_empty_prompt_becomes_one_that_can_be_used() -> None:
    assert enhance("", "", 1).prompt
    assert not enhance("", "", 1).prompt.startswith((",", " "))


def test_negatives_that_are_there_in_any_syntax_are_not_added() -> None:
    given = "((Blurry)), (low quality:1.4), [watermark]"
    added = enhance("a cat", given, 1).negative_prompt[len(given) :]

    assert not {"blurry", "low quality", "watermark"} & {phrase.strip() for phrase in added.split(",")}
    assert "jpeg artifacts" in added


def test_what_the_prompt_asks_for_is_not_forbidden() -> None:
    assert "blurry" not in enhance("a blurry photo of a cat", "", 1).negative_prompt
    assert "blurry" in enhance("a photo of a cat", "", 1).negative_prompt


def test_no_phrase_names_what_a_picture_shows() -> None:
    names = [name for table in (COLOUR_NAMES, SHAPE_NAMES, SIZE_NAMES) for name in table.values()]
    shown = {word for group in names for name in group for word in name.split()}
    forbidden = shown | OTHER_COLOURS | PLACES | BACKGROUNDS | MEDIA

    for phrase in (*STYLES, *NEGATIVES):
        assert not forbidden & set(plain(phrase).split()), phrase


def test_no_style_phrase_is_a_negative_or_makes_another_group_be_drawn() -> None:
    for phrase in STYLES:
        assert not any(says(plain(phrase), negative) for negative in NEGATIVES)
        assert not any(says(plain(phrase), word) for word in PHOTO_WORDS)


def test_every_phrase_is_in_one_group_and_covers_it() -> None:
    assert len(STYLES) == len(set(map(plain, STYLES)))
    for group in GROUPS:
        for phrase in group.phrases:
            assert any(says(plain(phrase), marker) for marker in group.markers), phrase
