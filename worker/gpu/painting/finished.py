"""What happens to decoded pixels, whatever kind of model painted them: they are looked at and enlarged."""

from collections.abc import Callable
from typing import Protocol

from worker.gpu.engine import Picture, Pixels, Steps, one
from worker.gpu.enlarging import Upscaler, enlarge_to
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.painting.checking import Check

UPSCALED = 2
"""Times as wide and high: what `upscale` makes of a finished picture."""


class Tools(Protocol):
    """A kit."""

    @property
    def checker(self) -> SafetyChecker | None: ...

    @property
    def upscaler(self) -> Upscaler | None: ...


class Wishes(Protocol):
    """A request."""

    @property
    def safety_checker(self) -> bool: ...

    @property
    def upscale(self) -> bool: ...


def finished(
    kit: Tools,
    request: Wishes,
    pixels: Pixels,
    alone: object,
    complete: Callable[[Pixels], Pixels] = lambda pixels: pixels,
) -> Steps[Picture]:
    """`complete` is the last that is done to the pixels of the size that was painted."""
    is_sensitive = None
    if request.safety_checker and kit.checker:
        is_sensitive = yield from one(Check(kit.checker, pixels, alone))
    if not request.upscale:
        return Picture(lambda: complete(pixels), is_sensitive)
    whole = complete(pixels)
    height, width, _ = whole.shape
    size = (UPSCALED * width, UPSCALED * height)
    develop = yield from enlarge_to(kit.upscaler, whole, size, alone, lambda _: None)
    return Picture(develop, is_sensitive)
