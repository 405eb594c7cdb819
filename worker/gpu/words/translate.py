# ruff: noqa: RUF001 - the wide comma is the one that is meant
"""`multi_lingual`: prompts of 52 languages into English, by a model of the mBART-50 family.

Any checkpoint that translates into English will do: mbart-large-50-many-to-many-mmt, or -many-to-one-mmt. A
prompt is translated piece by piece, so that commas, brackets and weights stay where they are, and all pieces
in one run of the model. English prompts, tags and words of style don't reach it.
"""

import re
from itertools import chain
from typing import Any

import torch
from transformers import AutoConfig, MBart50Tokenizer, MBartForConditionalGeneration

from worker.gpu.words.language_model import LanguageModel
from worker.gpu.words.languages import ENGLISH, LATIN, detect, is_style

NOT_LOADED = "The translation model can't be loaded on the server."

SYNTAX = re.compile(
    r"""(
    <[^<>]*>                               # <lora:name:1>
    | \\.                                  # an escaped bracket
    | :\s*[+-]?(?:\d+(?:\.\d+)?|\.\d+)\s*(?=[)\]])       # a weight
    | \b(?:BREAK|AND)\b
    | [()\[\]{}|,;:\n]
    | [，、،；。．！]
    )""",
    re.VERBOSE,
)
"""What stands between the pieces that are translated."""

NO_SYNTAX = re.compile(r"[()\[\]{}<>|\\]")
ENGLISH_STOPS = {"，": ", ", "、": ", ", "،": ", ", "；": "; ", "。": ". ", "．": ". ", "！": "! "}
BEAMS = 4
LONGEST = 200
"""In tokens, of one piece and of its translation."""
AT_ONCE, MOST_PIECES = 16, 256
"""Pieces in one run of the model, and in one prompt; pieces beyond that stay as they are."""
LONGEST_SIGN = 4
"""In letters, of words in capitals such as `RAW` and `DSLR`, which are the same in all languages."""
MARGIN = 10
"""A short piece sends some models into a loop; none that is good is longer than this and thrice its text."""


class Translator(LanguageModel):
    """Makes English of what is not."""

    @classmethod
    def load(cls, source: str, device: torch.device) -> "Translator":
        """Raises `GenerationFailed` if there is no mBART-50 at `source`, a folder or a model id of the hub.

        In float32: a half-precision load changes torch's default type for every thread of the process.
        """
        return cls._read(source, device, _mbart, NOT_LOADED)

    def to_english(self, text: str) -> str:
        """The same text gives the same English; text that is English already is returned as it is."""
        language = detect(text)
        if language == ENGLISH:
            return text
        pieces = SYNTAX.split(text)
        wanted = [i for i in range(0, len(pieces), 2) if needs_translation(pieces[i], language)]
        if not wanted:
            return text
        distinct = list(dict.fromkeys(pieces[i].strip() for i in wanted))[:MOST_PIECES]
        english: dict[str, str] = {}
        for start in range(0, len(distinct), AT_ONCE):
            part = distinct[start : start + AT_ONCE]
            english |= zip(part, self._translate(part, language), strict=True)
        for i in wanted:
            pieces[i] = in_place_of(pieces[i], english.get(pieces[i].strip(), ""))
        return "".join(chain.from_iterable(zip(pieces[::2], [*map(_stop, pieces[1::2]), ""], strict=True)))

    @torch.inference_mode()
    def _translate(self, pieces: list[str], language: str) -> list[str]:
        with self._lock:
            self._tokenizer.src_lang = language
            batch = self._tokenizer(
                pieces, return_tensors="pt", padding=True, truncation=True, max_length=LONGEST
            ).to(self._device)
            tokens = self._model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                forced_bos_token_id=self._tokenizer.convert_tokens_to_ids(ENGLISH),
                do_sample=False,
                num_beams=BEAMS,
                early_stopping=True,
                max_new_tokens=min(LONGEST, MARGIN + 3 * batch["input_ids"].shape[1]),
            )
            return list(self._tokenizer.batch_decode(tokens, skip_special_tokens=True))


def _mbart(source: str) -> tuple[Any, Any]:
    if AutoConfig.from_pretrained(source).model_type != "mbart":
        raise ValueError(f"{source} is not of the mBART family")
    tokenizer = MBart50Tokenizer.from_pretrained(source)
    model = MBartForConditionalGeneration.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(f"{source} lacks languages of mBART-50")
    return model, tokenizer


def needs_translation(piece: str, language: str) -> bool:
    """Words in Latin letters amid another script are English; so are words of style, and `RAW`."""
    if not any(letter.isalpha() for letter in piece) or is_style(piece):
        return False
    if language not in LATIN:
        return not piece.isascii()
    return not (piece.isascii() and piece.isupper() and len(piece.strip()) <= LONGEST_SIGN)


def in_place_of(piece: str, english: str) -> str:
    """With the spaces of the piece around it; without brackets, or a full stop that did not end the piece."""
    english = NO_SYNTAX.sub("", english).strip()
    if not piece.rstrip().endswith("."):
        english = english.rstrip(".")
    before = piece[: len(piece) - len(piece.lstrip())]
    after = piece[len(piece.rstrip()) :]
    return f"{before}{english or piece.strip()}{after}"


def _stop(syntax: str) -> str:
    return ENGLISH_STOPS.get(syntax, syntax)
