"""Turns prompts into what the transformer hears: T5's embeddings of the words, and CLIP's summary of them."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from shared.jobs import LoraUse
from worker.gpu.engine import Ask, Steps
from worker.gpu.flux.kit import FluxKit
from worker.gpu.flux.loaded import LoadedFlux
from worker.gpu.flux.request import FluxRequest

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Conditions:
    """Every tensor has one row per prompt: the negative one first, if it counts."""

    embeddings: Tensor
    """(rows, tokens, width)"""
    pooled: Tensor
    """(rows, width)"""

    @property
    def rows(self) -> int:
        return int(self.embeddings.shape[0])


@dataclass(frozen=True, eq=False)
class Encode(Ask[Conditions]):
    """One prompt, padded or cut to the length that each encoder reads."""

    work: ClassVar[str] = "encode"
    urgent: ClassVar[bool] = True

    model: LoadedFlux
    clip_ids: Tokens
    t5_ids: Tokens
    loras: tuple[LoraUse, ...] = ()
    alone_for: object = None

    @property
    def shape(self) -> Hashable:
        return ("encode", self.model.model_id)

    @property
    def state(self) -> Hashable:
        return self.loras

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.model,)

    def answer(self, asks: Sequence["Encode"]) -> list[Conditions]:
        """Each distinct prompt is encoded once, however many pictures share it."""
        model = self.model
        model.adapters.switch(self.loras)
        distinct = list(dict.fromkeys((ask.clip_ids, ask.t5_ids) for ask in asks))
        clip_ids = torch.tensor([clip for clip, _ in distinct], device=model.device)
        t5_ids = torch.tensor([t5 for _, t5 in distinct], device=model.device)
        pooled = model.clip(clip_ids).pooler_output.to(model.dtype)
        embeddings = model.t5(t5_ids)[0].to(model.dtype)
        rows = [distinct.index((ask.clip_ids, ask.t5_ids)) for ask in asks]
        return [Conditions(embeddings[row : row + 1], pooled[row : row + 1]) for row in rows]


def condition(kit: FluxKit, request: FluxRequest, alone: object) -> Steps[Conditions]:
    """Encodes the prompts of one picture."""
    model = kit.model
    prompts = [request.prompt]
    if request.is_guided:
        prompts.insert(0, request.negative_prompt or "")
    asks = [
        Encode(
            model=model,
            clip_ids=_tokens(model.clip_tokenizer, prompt, int(model.clip_tokenizer.model_max_length)),
            t5_ids=_tokens(model.t5_tokenizer, prompt, model.prompt_tokens),
            loras=request.loras,
            alone_for=alone,
        )
        for prompt in prompts
    ]
    rows: list[Conditions] = yield [*asks]
    return Conditions(
        embeddings=torch.cat([row.embeddings for row in rows]), pooled=torch.cat([row.pooled for row in rows])
    )


def _tokens(tokenizer: Any, prompt: str, length: int) -> Tokens:
    return tuple(tokenizer(prompt, padding="max_length", max_length=length, truncation=True).input_ids)
