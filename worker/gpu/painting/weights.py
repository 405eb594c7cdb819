"""The webui's prompt syntax: `(word)`, `((word))`, `[word]`, `(word:1.5)`, `\\(` and BREAK."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

STRONGER, WEAKER = 1.1, 1 / 1.1
STRONGEST = 10.0
"""Weights beyond this, and beyond its negative, say no more: they only break numbers."""
MOST_NESTED = 32
"""Groups in groups; 25 of them reach the strongest weight. Further brackets are plain characters."""

_BREAK = re.compile(r"\bBREAK\b")
_PIECE = re.compile(
    r"""\\[()\[\]\\]                    # an escaped character
      | :\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)\s*\)  # the weight that closes a group
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


Section = tuple[Phrase, ...]


@lru_cache(maxsize=512)
def sections(prompt: str) -> tuple[Section, ...]:
    """The prompt's parts between BREAKs, each as phrases of one weight; of nothing, one empty part.

    Remembered: slots read a prompt before the engine's thread needs it, and a job's pictures share theirs.
    """
    parts = [part.strip() for part in _BREAK.split(prompt)] if "BREAK" in prompt else [prompt]
    return tuple(tuple(_merged(_phrases(part))) for part in parts if part.strip()) or ((),)


def _phrases(text: str) -> list[Phrase]:
    reader = _Reader()
    for piece in _PIECE.findall(text):
        reader.take(piece)
    while reader.groups:  # a group that nobody closed ends with the text
        bracket = reader.groups[-1][0]
        reader.close(bracket, STRONGER if bracket == "(" else WEAKER)
    return reader.found


class _Reader:
    """The phrases so far, and where the open groups begin among them."""

    def __init__(self) -> None:
        self.found: list[Phrase] = []
        self.groups: list[tuple[str, int]] = []
        self._closed = 0
        """Phrases before this one were in a group that has ended."""

    def take(self, piece: str) -> None:
        if piece in ("(", "[") and len(self.groups) < MOST_NESTED:
            self.groups.append((piece, len(self.found)))
        elif piece == "]" and self._is_open("["):
            self.close("[", WEAKER)
        elif piece.endswith(")") and not piece.startswith("\\") and self._is_open("("):
            self.close("(", float(piece[1:-1]) if len(piece) > 1 else STRONGER)
        else:
            is_escaped = len(piece) == 2 and piece[0] == "\\"
            self._add(piece[1:] if is_escaped else piece)

    def _add(self, text: str) -> None:
        """To the plain phrase before it, if both are in the same group: fewer phrases to weigh."""
        begins = self.groups[-1][1] if self.groups else self._closed
        if len(self.found) > max(begins, self._closed):
            text = self.found.pop().text + text
        self.found.append(Phrase(text, 1.0))

    def close(self, bracket: str, factor: float) -> None:
        """End the innermost group of this kind and weigh what is in it."""
        index = max(i for i, (kind, _) in enumerate(self.groups) if kind == bracket)
        _, start = self.groups.pop(index)
        self.found[start:] = [Phrase(each.text, each.weight * factor) for each in self.found[start:]]
        self._closed = len(self.found)

    def _is_open(self, bracket: str) -> bool:
        return any(kind == bracket for kind, _ in self.groups)


def _merged(phrases: list[Phrase]) -> list[Phrase]:
    """Neighbours of one weight as one phrase: words must reach the tokenizer whole. Weights are bounded."""

    def runs() -> Iterator[Phrase]:
        text, weight = "", 1.0
        for phrase in phrases:
            bounded = max(-STRONGEST, min(STRONGEST, phrase.weight))
            if bounded != weight and text:
                yield Phrase(text, weight)
                text = ""
            text, weight = text + phrase.text, bounded
        if text:
            yield Phrase(text, weight)

    return list(runs())
