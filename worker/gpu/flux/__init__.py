"""How a Flux picture is made: loading, encoding, denoising a flow, and the program that joins them.

Stable Diffusion is in worker/gpu/painting; what happens to decoded pixels is shared with it.
"""

from worker.gpu.flux.kit import FluxKit
from worker.gpu.flux.loaded import LoadedFlux
from worker.gpu.flux.loading import is_flux, load_flux
from worker.gpu.flux.picture import paint_flux
from worker.gpu.flux.request import FluxRequest

__all__ = ["FluxKit", "FluxRequest", "LoadedFlux", "is_flux", "load_flux", "paint_flux"]
