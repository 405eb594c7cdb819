"""The webui's prompt syntax: `(word)`, `((word))`, `[word]`, `(word:1.5)`, `\\(` and BREAK."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

STRONGER, WEAKER = 1.1, 1 / 1.1

_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_PIECE = re.compile(
    r"""\\[()\[\]\\]                    # an escaped character
      | :\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)  # the weight that closes a group
      | [()\[\]]
      | [^\\()\[\]:]+
      | .                               # a lone colon or backslash
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Phrase:
    """Text and how strongly it counts; 1 is the usual strength."""

    text: str
    weight: float


def sections(prompt: str) -> list[list[Phrase]]:
    """The prompt's parts between BREAKs, each as phrases of one weight; at least one part, maybe empty."""
    return [_merged(_phrases(part)) for part in _BREAK.split(prompt)]


def _phrases(text: str) -> list[Phrase]:
    found: list[Phrase] = []
    open_groups: list[tuple[str, int]] = []

    def close(bracket: str, factor: float) -> None:
        """End the innermost group of this kind, if there is one, and weigh what is in it."""
        index = next((i for i in reversed(range(len(open_groups))) if open_groups[i][0] == bracket), None)
        if index is not None:
            _, start = open_groups.pop(index)
            found[start:] = [Phrase(each.text, each.weight * factor) for each in found[start:]]

    for piece in _PIECE.findall(text):
        if piece in ("(", "["):
            open_groups.append((piece, len(found)))
        elif piece == "]" and _is_open(open_groups, "["):
            close("[", WEAKER)
        elif piece == ")" and _is_open(open_groups, "("):
            close("(", STRONGER)
        elif piece.startswith(":") and piece.endswith(")") and _is_open(open_groups, "("):
            close("(", float(piece[1:-1]))
        else:
            found.append(Phrase(piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece, 1.0))
    while open_groups:  # a group that nobody closed ends with the text
        bracket = open_groups[-1][0]
        close(bracket, STRONGER if bracket == "(" else WEAKER)
    return found


def _is_open(groups: list[tuple[str, int]], bracket: str) -> bool:
    return any(kind == bracket for kind, _ in groups)


def _merged(phrases: list[Phrase]) -> list[Phrase]:
    """Neighbours of one weight as one phrase: words must reach the tokenizer whole."""

    def runs() -> Iterator[Phrase]:
        text, weight = "", 1.0
        for phrase in phrases:
            if phrase.weight != weight and text:
                yield Phrase(text, weight)
                text = ""
            text, weight = text + phrase.text, phrase.weight
        if text:
            yield Phrase(text, weight)

    return list(runs())
