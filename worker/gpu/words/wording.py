"""From a request's words to the model's: translation first, then enhancement, each only if it is asked for.

Runs in slot threads.
"""

from dataclasses import dataclass

from shared.errors import GenerationFailed
from shared.missing import NO_TRANSLATOR
from worker.gpu.words.enhance import Words, enhance_negative
from worker.gpu.words.enhance import enhance as enhance_built_in
from worker.gpu.words.translate import Translator
from worker.gpu.words.writer import PromptWriter


@dataclass(frozen=True)
class Wording:
    """What a job's words are prepared with: None for what is not installed, or not wanted."""

    translator: Translator | None = None
    writer: PromptWriter | None = None

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
        if self.translator is None:
            raise GenerationFailed(NO_TRANSLATOR)
        return self.translator.to_english(text)

    def _enhanced(self, words: Words, seed: int) -> Words:
        """The writer takes the place of the style phrases; the boilerplate of the negative prompt stays."""
        if self.writer is None:
            return enhance_built_in(words.prompt, words.negative_prompt, seed)
        prompt = self.writer.write(words.prompt, seed)
        return Words(prompt, enhance_negative(words.negative_prompt, words.prompt))
