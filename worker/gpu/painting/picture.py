"""The program that makes one picture, from its prompts to its pixels."""

import torch
from torch import Tensor

from worker.gpu.engine import Note, Picture, Pixels, Steps, one
from worker.gpu.painting.checking import Check
from worker.gpu.painting.conditions import condition
from worker.gpu.painting.decoding import Decode
from worker.gpu.painting.denoising import Denoising
from worker.gpu.painting.enlarging import enlarged
from worker.gpu.painting.guidance import Guided
from worker.gpu.painting.kit import Kit
from worker.gpu.painting.request import PictureRequest


def paint(kit: Kit, request: PictureRequest, note: Note) -> Steps[Picture]:
    """Encode, denoise, decode, look at it, enlarge it."""
    alone = object() if request.deterministic else None
    with kit.model.adapters.held(kit.loras), kit.model.image_prompts.held(kit.ip_adapter):
        latents = yield from _latents(kit, request, note, alone)
    pixels = yield from _decoded(kit, latents, alone)
    is_sensitive = None
    if request.safety_checker and kit.checker:
        is_sensitive = yield from one(Check(kit.checker, pixels, alone))
    if not request.upscale:
        return Picture(lambda: pixels, is_sensitive)
    develop = yield from enlarged(kit.upscaler, pixels, alone)
    return Picture(develop, is_sensitive)


def _decoded(kit: Kit, latents: Tensor, alone: object) -> Steps[Pixels]:
    """Whole, or in tiles if it does not fit even after all room was made."""
    try:
        return (yield from one(Decode(kit, latents, alone)))
    except torch.OutOfMemoryError:
        return (yield from one(Decode(kit, latents, alone, in_tiles=True)))


def _latents(kit: Kit, request: PictureRequest, note: Note, alone: object) -> Steps[Tensor]:
    conditions = yield from condition(kit, request, alone)
    return (yield from Denoising(Guided(kit, request, conditions, alone), note).run())
