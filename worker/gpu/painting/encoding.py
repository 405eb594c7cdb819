"""Turns chunks of tokens into embeddings, those of many prompts in one forward of the text encoder."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from shared.jobs import LoraUse
from worker.gpu.engine import Ask
from worker.gpu.models.loaded import LoadedModel, TextEncoder
from worker.gpu.painting.chunks import Chunk

MOST_CORRECTION = 2.0


@dataclass(frozen=True)
class Encoded:
    """`embeddings`: (1, tokens, width); `pooled`: (1, width), from models that have it (SDXL)."""

    embeddings: Tensor
    pooled: Tensor | None


@dataclass(frozen=True, eq=False)
class Encode(Ask[Encoded]):
    """One prompt; `chunks` has one tuple of chunks for each of the model's encoders."""

    work: ClassVar[str] = "encode"
    urgent: ClassVar[bool] = True

    model: LoadedModel
    chunks: tuple[tuple[Chunk, ...], ...]
    clip_skip: int
    loras: tuple[LoraUse, ...]
    alone_for: object = None

    @property
    def rows(self) -> int:  # type: ignore[override]
        return len(self.chunks[0])

    @property
    def shape(self) -> Hashable:
        return ("encode", self.model.model_id)

    @property
    def state(self) -> Hashable:
        return (self.loras, self.clip_skip)

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.model,)

    def answer(self, asks: Sequence["Encode"]) -> list[Encoded]:
        self.model.adapters.switch(self.loras)
        of_encoders = [
            _encode(encoder, [ask.chunks[index] for ask in asks], self.clip_skip, is_xl=self.model.is_xl)
            for index, encoder in enumerate(self.model.encoders)
        ]
        return [
            Encoded(
                embeddings=torch.cat([each.embeddings for each in of_ask], dim=-1).to(self.model.dtype),
                pooled=of_ask[-1].pooled,
            )
            for of_ask in zip(*of_encoders, strict=True)
        ]


def _encode(
    encoder: TextEncoder, prompts: Sequence[tuple[Chunk, ...]], clip_skip: int, *, is_xl: bool
) -> list[Encoded]:
    """Each distinct chunk is encoded once, however many prompts share it."""
    distinct = list(dict.fromkeys(chunk for chunks in prompts for chunk in chunks))
    ids = torch.tensor([chunk.ids for chunk in distinct], device=encoder.network.device)
    output = encoder.network(ids, output_hidden_states=True)
    hidden = _weighed(_layer(encoder, output, clip_skip, is_xl=is_xl), distinct)
    pooled = _pooled(encoder, output, distinct)
    place = {chunk: index for index, chunk in enumerate(distinct)}
    return [
        Encoded(
            embeddings=torch.cat([hidden[place[chunk]] for chunk in chunks])[None],
            pooled=None if pooled is None else pooled[place[chunks[0]]][None],
        )
        for chunks in prompts
    ]


def _layer(encoder: TextEncoder, output: object, clip_skip: int, *, is_xl: bool) -> Tensor:
    """`clip_skip` 1 hears the last layer, 2 the one before; more layers than there are hear the first.

    SDXL was trained on the last but one and without the final norm, so it counts from there.
    """
    states: tuple[Tensor, ...] = output.hidden_states  # type: ignore[attr-defined]
    layers = len(states) - 1
    if is_xl:
        return states[-1 - min(clip_skip, layers - 1 or 1)]
    if clip_skip == 1:
        last: Tensor = output.last_hidden_state  # type: ignore[attr-defined]
        return last
    normed: Tensor = encoder.network.final_layer_norm(states[-min(clip_skip, layers)])
    return normed


def _weighed(hidden: Tensor, chunks: Sequence[Chunk]) -> Tensor:
    """Multiplies the words' vectors by their weights and restores each chunk's mean, as the webui does."""
    touched = [index for index, chunk in enumerate(chunks) if any(weight != 1.0 for weight in chunk.weights)]
    if not touched:
        return hidden
    weights = torch.tensor([chunks[index].weights for index in touched], device=hidden.device)
    plain = hidden[touched].float()
    weighed = plain * weights[:, :, None]
    correction = plain.mean((1, 2), keepdim=True) / weighed.mean((1, 2), keepdim=True)
    # a mean near zero corrects nothing: its ratio is only noise, of any size and sign
    is_sound = (correction > 1 / MOST_CORRECTION) & (correction < MOST_CORRECTION)
    weighed = weighed * torch.where(is_sound, correction, 1.0)
    hidden = hidden.clone()
    hidden[touched] = weighed.to(hidden.dtype)
    return hidden


def _pooled(encoder: TextEncoder, output: object, chunks: Sequence[Chunk]) -> Tensor | None:
    """At the end mark, found by us: words of textual inversions have ids beyond the mark's, which the encoder
    takes for the mark."""
    projection = getattr(encoder.network, "text_projection", None)
    if projection is None:
        return None
    last: Tensor = output.last_hidden_state  # type: ignore[attr-defined]
    ends = torch.tensor([chunk.end for chunk in chunks], device=last.device)
    projected: Tensor = projection(last[torch.arange(len(chunks), device=last.device), ends])
    return projected
