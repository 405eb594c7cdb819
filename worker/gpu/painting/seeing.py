"""Turns the pictures of image prompts into tokens, those of many in one forward of the image encoder."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from worker.gpu.engine import Ask, Steps, one
from worker.gpu.models.ip_adapters import IpAdapter
from worker.gpu.painting.kit import Kit
from worker.gpu.painting.request import ImagePrompt, PictureRequest


@dataclass(frozen=True, eq=False)
class See(Ask[Tensor]):
    """The answer: (2, tokens, width), first what stands for no picture."""

    work: ClassVar[str] = "see"
    urgent: ClassVar[bool] = True

    adapter: IpAdapter
    prompt: ImagePrompt
    alone_for: object = None

    @property
    def shape(self) -> Hashable:
        return ("see", self.adapter.adapter_id)

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.adapter.weights, self.adapter.encoder)

    def answer(self, asks: Sequence["See"]) -> list[Tensor]:
        """Each distinct prompt is seen once: a job's pictures have it in common."""
        distinct = list(dict.fromkeys(ask.prompt for ask in asks))
        tokens = self.adapter.tokens([prompt.pixels for prompt in distinct])
        place = {prompt: index for index, prompt in enumerate(distinct, start=1)}
        return [tokens[[0, place[ask.prompt]]] for ask in asks]


def seen(kit: Kit, request: PictureRequest, rows: int, alone: object) -> Steps[Tensor | None]:
    """What the denoiser is to hear of the picture: (rows, 2, tokens, width), tokens to make keys of, and to
    make values of. The values' are scaled, so pictures of any scale share forwards."""
    if request.ip is None or kit.ip_adapter is None:
        return None
    tokens = yield from one(See(kit.ip_adapter, request.ip, alone))
    return torch.stack([tokens, tokens * request.ip.scale], dim=1)[-rows:]
