"""The program that makes one picture, from its prompts to its pixels."""

from functools import partial

from torch import Tensor

from worker.gpu.engine import Note, Picture, Pixels, Steps
from worker.gpu.finishing.seam import joined
from worker.gpu.painting.autoencoder import whole_or_in_tiles
from worker.gpu.painting.conditions import condition
from worker.gpu.painting.decoding import Decode
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
    made: Pixels
    (made,) = yield from whole_or_in_tiles([Decode(kit, latents, alone)])
    return (yield from finished(kit, request, made, alone, complete=partial(_whole, request)))


def _whole(request: PictureRequest, made: Pixels) -> Pixels:
    """With what the mask keeps, if there is one."""
    start = request.start
    return made if start is None or start.mask is None else joined(start.pixels, made, start.mask)


def _latents(kit: Kit, request: PictureRequest, note: Note, alone: object) -> Steps[Tensor]:
    conditions = yield from condition(kit, request, alone)
    return (yield from Denoising(Guided(kit, request, conditions, alone), note).run())
