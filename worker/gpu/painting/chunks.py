"""Cuts a prompt of any length into the chunks that a CLIP text encoder reads: 75 tokens between its marks."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from transformers import CLIPTokenizer

from worker.gpu.painting.weights import Phrase, sections

Words = Mapping[str, tuple[int, ...]]
"""A job's own words, in lower case, and the token ids that they stand for."""


MOST_CHUNKS = 40
"""As many as the longest prompt of plain words needs; BREAKs and textual inversions could make more."""


@dataclass(frozen=True)
class Chunk:
    """As long as the encoder reads (77), marks and padding included; hashable."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    end: int
    """Where the end mark is: the encoder sums up the text there."""


def chunked(tokenizer: CLIPTokenizer, prompt: str, words: Words) -> list[Chunk]:
    """At least one chunk, at most `MOST_CHUNKS`; BREAK begins a new one."""
    room = int(tokenizer.model_max_length) - 2
    chunks: list[Chunk] = []
    for section in sections(prompt):
        tokens = [(token, phrase.weight) for phrase in section for token in _tokens(tokenizer, phrase, words)]
        for start in range(0, max(len(tokens), 1), room):
            chunks.append(_chunk(tokenizer, tokens[start : start + room]))
    return chunks[:MOST_CHUNKS]


def empty_chunk(tokenizer: CLIPTokenizer) -> Chunk:
    return _chunk(tokenizer, [])


def _chunk(tokenizer: CLIPTokenizer, tokens: list[tuple[int, float]]) -> Chunk:
    padding = int(tokenizer.model_max_length) - 2 - len(tokens)
    ids = [tokenizer.bos_token_id, *(token for token, _ in tokens), tokenizer.eos_token_id]
    weights = [1.0, *(weight for _, weight in tokens), 1.0]
    return Chunk(
        ids=(*ids, *[tokenizer.pad_token_id] * padding),
        weights=(*weights, *[1.0] * padding),
        end=len(tokens) + 1,
    )


def spelled(words: Iterable[str]) -> re.Pattern[str]:
    """Finds any of `words` as a whole word, in either case; the longest that fits."""
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])({either})(?![\w-])", re.IGNORECASE)


def _tokens(tokenizer: CLIPTokenizer, phrase: Phrase, words: Words) -> list[int]:
    if not words:
        return _plain(tokenizer, phrase.text)
    ids: list[int] = []
    for part in spelled(words).split(phrase.text):
        ids += words.get(part.lower()) or _plain(tokenizer, part)
    return ids


def _plain(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    """Without the warning about long texts: they are cut into chunks here."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
