"""From a request's words to the model's: translation first, then enhancement, each only if it is asked for.

Runs in slot threads. The models behind it are optional and large: each is loaded when a job first needs it.
"""

from collections.abc import Callable
from typing import TypeVar

import torch

from shared.errors import GenerationFailed
from shared.missing import NO_TRANSLATOR
from worker.gpu.words.enhance import Words, enhance_negative
from worker.gpu.words.enhance import enhance as enhance_built_in
from worker.gpu.words.lazy import Lazy
from worker.gpu.words.translate import Translator
from worker.gpu.words.writer import PromptWriter

Model = TypeVar("Model")


class Wording:
    """The translator and the prompt writer of one worker, as far as its operator has named any."""

    def __init__(
        self, translator_source: str | None, writer_source: str | None, device: torch.device
    ) -> None:
        """A source is a folder or a model id of the Hugging Face hub."""
        self._translator = _lazy(Translator.load, translator_source, device)
        self._writer = _lazy(PromptWriter.load, writer_source, device)

    def prepare(
        self, prompt: str, negative_prompt: str, *, seed: int, translate: bool, enhance: bool
    ) -> Words:
        """Raises `GenerationFailed` if a translation is asked for and can't be had."""
        words = Words(prompt, negative_prompt)
        if translate:
            words = Words(self._to_english(prompt), self._to_english(negative_prompt))
        return self._enhanced(words, seed) if enhance else words

    def _to_english(self, text: str) -> str:
        if not text.strip():
            return text
        if self._translator is None:
            raise GenerationFailed(NO_TRANSLATOR)
        return self._translator.get().to_english(text)

    def _enhanced(self, words: Words, seed: int) -> Words:
        """The writer takes the place of the style phrases; the boilerplate of the negative prompt stays."""
        if self._writer is None:
            return enhance_built_in(words.prompt, words.negative_prompt, seed)
        prompt = self._writer.get().write(words.prompt, seed)
        return Words(prompt, enhance_negative(words.negative_prompt, words.prompt))


def _lazy(
    load: Callable[[str, torch.device], Model], source: str | None, device: torch.device
) -> Lazy[Model] | None:
    return Lazy(lambda: load(source, device)) if source else None
