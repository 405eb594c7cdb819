"""How a slot's thread uses a hint's network: each forward is an ask to the engine, and the slot waits for it.

So whatever a library does before and after runs in the slot, and jobs' forwards of one size share a batch.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from shared.errors import GenerationFailed
from worker.gpu.engine import Ask, Engine, Note, Picture, Pixels, Rendering, Steps, one

Run = Callable[[nn.Module, Tensor], Any]
"""A network's output for one input (1, channels, height, width), both on the CPU."""


class HintNetwork(Protocol):
    """What makes the hints of one or more types; shared by all slots."""

    @property
    def module(self) -> nn.Module:
        """What of it is on the device."""
        ...

    def hint(self, kind: str, picture: Pixels, run: Run) -> Pixels:
        """In the picture's size. Blocks while the device works."""
        ...


@dataclass(frozen=True, eq=False)
class Forward(Ask[Any]):
    """One input's way through a network."""

    work: ClassVar[str] = "hint"
    urgent: ClassVar[bool] = True

    network: nn.Module
    seen: Tensor
    alone_for: object = None

    @property
    def shape(self) -> Hashable:
        return ("hint", type(self.network).__name__, tuple(self.seen.shape))

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.network,)

    def answer(self, asks: Sequence["Forward"]) -> list[Any]:
        weight = next(self.network.parameters())
        seen = torch.cat([ask.seen for ask in asks]).to(weight.device, weight.dtype)
        output = self.network(seen)
        return [_row(output, row) for row in range(len(asks))]


class OnDevice:
    """Stands where a library wants a network, and has the engine run it."""

    def __init__(self, network: nn.Module, run: Run) -> None:
        self._network = network
        self._run = run
        self._here = torch.zeros(())

    def __call__(self, seen: Tensor) -> Any:
        return self._run(self._network, seen)

    def parameters(self) -> Iterator[Tensor]:
        """Libraries ask these where to put their input: on the CPU, for it is the engine that moves it."""
        return iter([self._here])


def through(
    engine: Engine, on_begin: Callable[[Rendering], None] = lambda _: None, alone: object = None
) -> Run:
    """Runs networks on the engine's thread, for one job.

    `on_begin` gets each rendering, to watch or to cancel it; `alone` keeps the job's forwards for itself.
    """

    def run(network: nn.Module, seen: Tensor) -> Any:
        outputs: list[Any] = []

        def program(_: Note) -> Steps[Picture]:
            outputs.append((yield from one(Forward(network, seen, alone))))
            return Picture(_no_pixels)

        rendering = engine.submit([program])
        on_begin(rendering)
        rendering.result()
        return outputs[0]

    return run


def _no_pixels() -> Pixels:
    raise GenerationFailed("A hint's forward has no pixels of its own.")


def _row(output: Any, row: int) -> Any:
    """One row of each tensor in the output, on the CPU."""
    if isinstance(output, Tensor):
        kept = output[row : row + 1]
        return (kept.float() if kept.is_floating_point() else kept).cpu()
    return [_row(part, row) for part in output]
