"""A request's words on their way to the model: translated into English, then enhanced.

`Wording` is what a slot calls; the rest are its parts. Nothing here runs on the GPU thread.
"""

from worker.gpu.words.enhance import Words, enhance
from worker.gpu.words.languages import LANGUAGES, detect
from worker.gpu.words.translate import Translator
from worker.gpu.words.wording import Wording
from worker.gpu.words.writer import PromptWriter

__all__ = [
    "LANGUAGES",
    "PromptWriter",
    "Translator",
    "Wording",
    "Words",
    "detect",
    "enhance",
]
