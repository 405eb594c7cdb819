"""How a picture is made: programs for the engine, and the asks that they yield."""

from worker.gpu.painting.kit import Kit
from worker.gpu.painting.picture import paint
from worker.gpu.painting.request import PictureRequest, SelfAttention, Start

__all__ = ["Kit", "PictureRequest", "SelfAttention", "Start", "paint"]
