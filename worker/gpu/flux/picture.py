"""The program that makes one Flux picture, from its prompts to its pixels."""

from torch import Tensor

from worker.gpu.engine import Note, Picture, Steps
from worker.gpu.flux.canvas import Canvas
from worker.gpu.flux.denoising import Denoising
from worker.gpu.flux.encoding import condition
from worker.gpu.flux.kit import FluxKit
from worker.gpu.flux.request import FluxRequest
from worker.gpu.painting.autoencoder import whole_or_in_tiles
from worker.gpu.painting.decoding import Decode
from worker.gpu.painting.finished import finished


def paint_flux(kit: FluxKit, request: FluxRequest, note: Note) -> Steps[Picture]:
    """Encode, denoise, decode, look at it, enlarge it."""
    alone = object() if request.deterministic else None
    canvas = Canvas(request.height, request.width, kit.model.pixels_per_patch)
    with kit.model.adapters.held(kit.loras):
        latents = yield from _latents(kit, request, canvas, note, alone)
    (painted,) = yield from whole_or_in_tiles([Decode(kit, latents, alone)])
    return (yield from finished(kit, request, canvas.cropped(painted), alone))


def _latents(kit: FluxKit, request: FluxRequest, canvas: Canvas, note: Note, alone: object) -> Steps[Tensor]:
    conditions = yield from condition(kit, request, alone)
    return (yield from Denoising(kit, request, canvas, conditions, note, alone).run())
