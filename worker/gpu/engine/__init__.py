"""The step-batching engine: one thread that owns the device and batches denoising steps, not requests."""

from worker.gpu.engine.ask import Ask, Note, Steps, one, together
from worker.gpu.engine.engine import Engine
from worker.gpu.engine.observer import Observer
from worker.gpu.engine.rendering import Picture, Pixels, Program, Rendering
from worker.gpu.engine.solo import Pause, Work, solo

__all__ = [
    "Ask",
    "Engine",
    "Note",
    "Observer",
    "Pause",
    "Picture",
    "Pixels",
    "Program",
    "Rendering",
    "Steps",
    "Work",
    "one",
    "solo",
    "together",
]
