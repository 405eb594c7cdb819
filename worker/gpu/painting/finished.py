"""What happens to decoded pixels, whatever kind of model painted them: they are looked at and enlarged."""

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


def finished(kit: Tools, request: Wishes, pixels: Pixels, alone: object) -> Steps[Picture]:
    is_sensitive = None
    if request.safety_checker and kit.checker:
        is_sensitive = yield from one(Check(kit.checker, pixels, alone))
    if not request.upscale:
        return Picture(lambda: pixels, is_sensitive)
    develop = yield from enlarged(kit.upscaler, pixels, alone)
    return Picture(develop, is_sensitive)
