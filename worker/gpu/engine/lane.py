"""A lane: the sequences that may share one forward of the denoiser, and that forward."""

import math
from collections.abc import Sequence as Items
from dataclasses import dataclass

import torch

from worker.gpu.engine.sequence import Sequence
from worker.gpu.models import LoadedModel


@dataclass(frozen=True)
class LaneKey:
    """What must be equal for two sequences to be stacked."""

    model_id: str
    latent_shape: tuple[int, ...]
    tokens: int

    @classmethod
    def of(cls, sequence: Sequence) -> "LaneKey":
        shape = tuple(sequence.latents.shape[1:])
        return cls(sequence.model.model_id, shape, sequence.embeddings.shape[1])


MOST_POSITIONS = 8 * 64 * 64
"""Latent positions in one forward: eight pictures of 512 px, or two of 1024 px."""


class Lane:
    """Sequences of one key, and how many of them one forward takes."""

    def __init__(self, model: LoadedModel, key: LaneKey, width: int, turn: int) -> None:
        """`turn`: the engine's, now; a new lane queues behind those that wait already."""
        self.model = model
        self.width = max(1, min(width, MOST_POSITIONS // math.prod(key.latent_shape[1:])))
        self.last_turn = turn
        self.sequences: list[Sequence] = []

    def pick(self) -> list[Sequence]:
        """The next forward's sequences: those that waited longest, the oldest first among equals."""
        return sorted(self.sequences, key=lambda sequence: sequence.last_turn)[: self.width]

    def narrow(self, size: int) -> None:
        """A forward of `size` sequences did not fit the device: take half as many from now on."""
        self.width = max(1, min(self.width, size // 2))


@torch.inference_mode()
def predict(model: LoadedModel, batch: Items[Sequence]) -> list[torch.Tensor]:
    """One forward for all of `batch`; returns each sequence's own rows of the prediction."""
    inputs = torch.cat([sequence.model_input() for sequence in batch])
    # float32 holds every integer timestep exactly, and some schedulers' timesteps are fractions
    timesteps = torch.cat([sequence.timestep.float().expand(sequence.rows) for sequence in batch])
    embeddings = torch.cat([sequence.embeddings for sequence in batch])
    predicted = model.unet(inputs, timesteps.to(model.device), encoder_hidden_states=embeddings).sample
    return list(predicted.split([sequence.rows for sequence in batch]))
