"""The step-batching engine: one thread that owns the device and batches denoising steps, not requests."""

from worker.gpu.engine.engine import Engine
from worker.gpu.engine.rendering import PictureRequest, Rendering

__all__ = ["Engine", "PictureRequest", "Rendering"]
