"""The webui's prompt syntax, read into phrases and weights."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.gpu.painting.weights import STRONGEST, Phrase, sections


def weighed(prompt: str) -> list[tuple[str, float]]:
    (section,) = sections(prompt)
    return [(phrase.text, round(phrase.weight, 3)) for phrase in section]


@pytest.mark.parametrize(
    ("prompt", "phrases"),
    [
        ("a red circle", [("a red circle", 1.0)]),
        ("a (red) circle", [("a ", 1.0), ("red", 1.1), (" circle", 1.0)]),
        ("a ((red)) circle", [("a ", 1.0), ("red", 1.21), (" circle", 1.0)]),
        ("a [red] circle", [("a ", 1.0), ("red", 0.909), (" circle", 1.0)]),
        ("(red:1.5)", [("red", 1.5)]),
        ("(red: 0.5 ) car", [("red", 0.5), (" car", 1.0)]),
        ("(a (red:1.5) car)", [("a ", 1.1), ("red", 1.65), (" car", 1.1)]),
        ("([red])", [("red", 1.0)]),
        (r"a \(red\) car", [("a (red) car", 1.0)]),
        (r"\[x\] \\", [("[x] \\", 1.0)]),
        ("never (closed", [("never ", 1.0), ("closed", 1.1)]),
        ("closed) too soon]", [("closed) too soon]", 1.0)]),
        ("16:9 and f/1.4", [("16:9 and f/1.4", 1.0)]),
        ("(time 16:9)", [("time 16", 9.0)]),
        ("", []),
    ],
)
def test_brackets_weigh_the_words_in_them(prompt: str, phrases: list[tuple[str, float]]) -> None:
    assert weighed(prompt) == phrases


def test_break_begins_a_new_part() -> None:
    parts = sections("a (red) circle BREAK blue BREAKFAST")

    assert [[phrase.text for phrase in part] for part in parts] == [
        ["a ", "red", " circle"],
        ["blue BREAKFAST"],
    ]


@pytest.mark.parametrize(
    "prompt", ["(" * 4900 + "a" + ")" * 4900, "(a" * 3000, "(a:99999)", "[" * 40 + "(a:-500)" + "]" * 40]
)
def test_weights_are_bounded_and_deep_nesting_is_read_at_once(prompt: str) -> None:
    (phrases,) = sections(prompt)

    assert all(abs(phrase.weight) <= STRONGEST for phrase in phrases)


def test_empty_parts_between_breaks_are_left_out() -> None:
    assert len(sections("BREAK a BREAK BREAK b BREAK ")) == 2
    assert sections("BREAK BREAK") == sections("") == ((),)


@given(st.text(alphabet="ab ()[]:.19\\", max_size=40))
def test_any_text_can_be_read_and_loses_no_word(prompt: str) -> None:
    (phrases,) = sections(prompt)

    letters = "".join(phrase.text for phrase in phrases)
    assert [c for c in letters if c in "ab"] == [c for c in prompt if c in "ab"]
    assert all(isinstance(phrase, Phrase) for phrase in phrases)
