"""The program that makes one picture, from its prompts to its pixels."""

from torch import Tensor

from worker.gpu.engine import Note, Picture, Steps
from worker.gpu.painting.conditions import condition
from worker.gpu.painting.decoding import decoded
from worker.gpu.painting.denoising import Denoising
from worker.gpu.painting.finished import finished
from worker.gpu.painting.guidance import Guided
from worker.gpu.painting.kit import Kit
from worker.gpu.painting.request import PictureRequest


def paint(kit: Kit, request: PictureRequest, note: Note) -> Steps[Picture]:
    """Encode, denoise, decode, look at it, enlarge it."""
    alone = object() if request.deterministic else None
    with kit.model.adapters.held(kit.loras), kit.model.image_prompts.held(kit.ip_adapter):
        latents = yield from _latents(kit, request, note, alone)
    pixels = yield from decoded(kit, latents, alone)
    return (yield from finished(kit, request, pixels, alone))


def _latents(kit: Kit, request: PictureRequest, note: Note, alone: object) -> Steps[Tensor]:
    conditions = yield from condition(kit, request, alone)
    return (yield from Denoising(Guided(kit, request, conditions, alone), note).run())
