"""How a picture is made: programs for the engine, and the asks that they yield."""

from worker.gpu.painting.control import hint_of
from worker.gpu.painting.kit import Kit
from worker.gpu.painting.picture import paint
from worker.gpu.painting.request import Control, Hint, ImagePrompt, PictureRequest, SelfAttention, Start

__all__ = [
    "Control",
    "Hint",
    "ImagePrompt",
    "Kit",
    "PictureRequest",
    "SelfAttention",
    "Start",
    "hint_of",
    "paint",
]
