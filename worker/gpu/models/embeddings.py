"""Textual inversions: words of a job's own, as vectors added to a text encoder's table.

The vectors get ids past the tokenizer's, and only the prompts of jobs that name the embedding are given these
ids: nobody else's words can mean them. A vector once added stays; it is a few kilobytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from shared.errors import GenerationFailed
from worker.gpu.models.parts import Network

WEBUI_KEY = "emb_params"
XL_KEYS = ("clip_l", "clip_g")


@dataclass(frozen=True)
class Embedding:
    """`vectors`: a (count, width) tensor for each of the model's encoders; `triggers`: its words."""

    embedding_id: str
    triggers: tuple[str, ...]
    vectors: tuple[Tensor, ...]
    version: str = ""

    @property
    def key(self) -> str:
        """Tells it from all others, those that had its id before too."""
        return f"{self.embedding_id} {self.version}"

    def vectors_for(self, encoder: int) -> Tensor:
        """Raises `GenerationFailed` if there are none for this one of the model's encoders."""
        if encoder >= len(self.vectors):
            raise GenerationFailed(
                f"Embedding {self.embedding_id} does not fit this model: it is not for SDXL."
            )
        return self.vectors[encoder]


def read_embedding(embedding_id: str, file: Path, version: str = "") -> Embedding:
    """From safetensors as diffusers, the webui (`emb_params`) or SDXL trainers (`clip_l`, `clip_g`) write.

    Raises `GenerationFailed` if the file is none of these.
    """
    try:
        tensors: Mapping[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as exc:
        raise GenerationFailed(f"Embedding {embedding_id} can't be read on the server.") from exc
    if set(XL_KEYS) <= set(tensors):
        vectors = tuple(_rows(tensors[key]) for key in XL_KEYS)
        return Embedding(embedding_id, (embedding_id,), vectors, version)
    if len(tensors) != 1:
        raise GenerationFailed(f"Embedding {embedding_id} is in no format that is known here.")
    ((word, tensor),) = tensors.items()
    triggers = (embedding_id,) if word == WEBUI_KEY else (embedding_id, word)
    return Embedding(embedding_id, triggers, (_rows(tensor),), version)


def _rows(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim == 2 else tensor[None]


class Vocabulary:
    """The table of one text encoder; owned by the engine's thread."""

    def __init__(self, encoder: Network) -> None:
        self._encoder = encoder
        self._ids: dict[str, tuple[int, ...]] = {}

    def ids(self, embedding: Embedding, vectors: Tensor) -> tuple[int, ...]:
        """Ids that stand for `vectors`, adding them when they are first asked for.

        Raises `GenerationFailed` if they have not the encoder's width.
        """
        if embedding.key not in self._ids:
            self._ids[embedding.key] = self._add(embedding.embedding_id, vectors)
        return self._ids[embedding.key]

    def _add(self, embedding_id: str, vectors: Tensor) -> tuple[int, ...]:
        table = self._encoder.get_input_embeddings()
        count, width = table.weight.shape
        if vectors.shape[1] != width:
            raise GenerationFailed(
                f"Embedding {embedding_id} does not fit this model: its vectors have {vectors.shape[1]} "
                f"numbers, the model's {width}."
            )
        with torch.inference_mode(mode=False):
            rows = torch.cat([table.weight.data, vectors.to(table.weight)])
            table.weight = nn.Parameter(rows, requires_grad=False)
        table.num_embeddings = count + len(vectors)
        return tuple(range(count, count + len(vectors)))
