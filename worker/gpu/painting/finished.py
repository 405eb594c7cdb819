"""What happens to decoded pixels, whatever kind of model painted them: they are looked at and enlarged."""

from collections.abc import Callable
from typing import Protocol

from worker.gpu.engine import Picture, Pixels, Steps, one
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.finishing.upscale import Upscaler
from worker.gpu.painting.checking import Check
from worker.gpu.painting.enlarging import enlarged


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
    develop = yield from enlarged(kit.upscaler, complete(pixels), alone)
    return Picture(develop, is_sensitive)
