"""What tells the denoiser what to show: the prompts' embeddings, and what some models hear besides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.gpu.engine import Steps
from worker.gpu.models.loaded import LoadedModel
from worker.gpu.painting.chunks import Words, chunked, empty_chunk
from worker.gpu.painting.encoding import Encode, Encoded
from worker.gpu.painting.kit import Kit
from worker.gpu.painting.request import PictureRequest
from worker.gpu.painting.seeing import seen


@dataclass(frozen=True)
class Conditions:
    """Every tensor has one row per prompt: the negative one first, if there is guidance."""

    embeddings: Tensor
    """(rows, tokens, width)"""
    pooled: Tensor | None = None
    """(rows, width): SDXL's summary of the prompt."""
    sizes: Tensor | None = None
    """(rows, 6): SDXL's original size, crop and target size."""
    guidance: Tensor | None = None
    """(rows, width): the guidance scale, for models that take it as an input."""
    picture: Tensor | None = None
    """(rows, 2, tokens, width): a picture's tokens, to make keys of and to make values of (IP-Adapters)."""

    @classmethod
    def stacked(
        cls, several: Sequence["Conditions"], stack: Callable[[Sequence[Tensor]], Tensor]
    ) -> "Conditions":
        """Those of several pictures that have the same kinds of them."""

        def column(tensors: Sequence[Tensor | None]) -> Tensor | None:
            given = [tensor for tensor in tensors if tensor is not None]
            return stack(given) if given else None

        return cls(
            embeddings=stack([each.embeddings for each in several]),
            pooled=column([each.pooled for each in several]),
            sizes=column([each.sizes for each in several]),
            guidance=column([each.guidance for each in several]),
            picture=column([each.picture for each in several]),
        )

    @property
    def rows(self) -> int:
        return int(self.embeddings.shape[0])

    @property
    def added(self) -> dict[str, Tensor | None] | None:
        """What SDXL's networks are told besides the prompt, by diffusers' names."""
        return None if self.pooled is None else {"text_embeds": self.pooled, "time_ids": self.sizes}

    def pick(self, rows: Sequence[int]) -> "Conditions":
        """The same for these rows, in this order."""

        def picked(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[list(rows)]

        embeddings = self.embeddings[list(rows)]
        return Conditions(
            embeddings,
            picked(self.pooled),
            picked(self.sizes),
            picked(self.guidance),
            picked(self.picture),
        )


def condition(kit: Kit, request: PictureRequest, alone: object) -> Steps[Conditions]:
    """Encodes the prompts of one picture, brought to the same number of chunks."""
    model = kit.model
    is_guided = request.guidance_scale > 1 and not model.takes_guidance_as_input
    texts = [request.negative_prompt or "", request.prompt] if is_guided else [request.prompt]
    asks = _asks(kit, request, texts, alone)
    rows: list[Encoded] = yield [*asks]
    if is_guided and request.negative_prompt is None and _zeroes_missing(model):
        rows[0] = Encoded(torch.zeros_like(rows[1].embeddings), _zeros(rows[1].pooled))
    picture = yield from seen(kit, request, len(rows), alone)
    pooled = [row.pooled for row in rows if row.pooled is not None]
    return Conditions(
        embeddings=torch.cat([row.embeddings for row in rows]),
        pooled=torch.cat(pooled) if pooled else None,
        sizes=_sizes(request, len(rows), model) if model.is_xl else None,
        guidance=_guidance(request.guidance_scale, model) if model.takes_guidance_as_input else None,
        picture=picture,
    )


def _asks(kit: Kit, request: PictureRequest, texts: Sequence[str], alone: object) -> list[Encode]:
    encoders = kit.model.encoders
    words = [_words(kit, index) for index in range(len(encoders))]
    prompts = [
        [chunked(encoder.tokenizer, text, known) for encoder, known in zip(encoders, words, strict=True)]
        for text in texts
    ]
    most = max(len(chunks) for prompt in prompts for chunks in prompt)
    return [
        Encode(
            model=kit.model,
            chunks=tuple(
                (*chunks, *[empty_chunk(encoder.tokenizer)] * (most - len(chunks)))
                for encoder, chunks in zip(encoders, prompt, strict=True)
            ),
            clip_skip=request.clip_skip,
            loras=request.loras,
            alone_for=alone,
        )
        for prompt in prompts
    ]


def _words(kit: Kit, encoder_index: int) -> Words:
    """What the job's embeddings mean to this encoder."""
    words: dict[str, tuple[int, ...]] = {}
    for embedding in kit.embeddings:
        vocabulary = kit.model.encoders[encoder_index].vocabulary
        ids = vocabulary.ids(embedding, embedding.vectors_for(encoder_index))
        words |= {trigger.lower(): ids for trigger in embedding.triggers}
    return words


def _zeroes_missing(model: LoadedModel) -> bool:
    return bool(model.is_xl and model.pipeline.config.force_zeros_for_empty_prompt)


def _zeros(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else torch.zeros_like(tensor)


def _sizes(request: PictureRequest, rows: int, model: LoadedModel) -> Tensor:
    size = (request.height, request.width)
    row = torch.tensor([[*size, 0, 0, *size]], dtype=model.dtype, device=model.device)
    return row.expand(rows, -1)


def _guidance(scale: float, model: LoadedModel) -> Tensor:
    """Sines and cosines of the scale, as latent consistency models were distilled with (arXiv 2310.04378)."""
    half = int(model.unet.config.time_cond_proj_dim) // 2
    rates = torch.exp(torch.arange(half) * -(torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = (scale - 1) * 1000.0 * rates
    wave = torch.cat([angles.sin(), angles.cos()])[None]
    return wave.to(device=model.device, dtype=model.dtype)
