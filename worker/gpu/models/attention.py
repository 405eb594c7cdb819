"""Attention in the UNet's middle block that can mark rows of a batch: to perturb them, or to watch them.

Rows that are not marked come out exactly as from diffusers' own processor, so guided and plain pictures share
forwards. Perturbed rows attend to nothing but themselves (perturbed-attention guidance, arXiv 2403.17377);
watched rows tell how much each position is attended to (self-attention guidance, arXiv 2210.00939).
"""

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor


@dataclass
class Marks:
    """Which rows of the next forward are special; owned by the engine's thread."""

    perturbed: Tensor | None = None
    watched: Tensor | None = None
    attended: Tensor | None = None
    has_places: bool = False
    """Whether there is self-attention in the middle block; some distilled models have none."""
    """Answer: (watched rows, positions), how much attention each position received, mean over heads."""

    def set(self, perturbed: list[int], watched: list[int], device: torch.device) -> None:
        self.perturbed = torch.tensor(perturbed, device=device) if perturbed else None
        self.watched = torch.tensor(watched, device=device) if watched else None

    def take(self) -> Tensor | None:
        """The answer of the forward that has just run; afterwards no row is special."""
        attended, self.perturbed, self.watched, self.attended = self.attended, None, None, None
        return attended


class MarkedAttention(AttnProcessor2_0):  # type: ignore[misc]
    """Self-attention that obeys the marks."""

    def __init__(self, marks: Marks, *, watches: bool) -> None:
        super().__init__()
        self._marks = marks
        self._watches = watches

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        out: Tensor = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        if self._marks.perturbed is not None:
            alone = hidden_states[self._marks.perturbed]
            out[self._marks.perturbed] = attn.to_out[1](attn.to_out[0](attn.to_v(alone)))
        if self._watches and self._marks.watched is not None:
            self._marks.attended = _attended(attn, hidden_states[self._marks.watched])
        return out


def _attended(attn: Attention, hidden_states: Tensor) -> Tensor:
    query = attn.head_to_batch_dim(attn.to_q(hidden_states))
    key = attn.head_to_batch_dim(attn.to_k(hidden_states))
    shares = attn.get_attention_scores(query, key, None)
    rows, positions = hidden_states.shape[:2]
    received: Tensor = shares.view(rows, attn.heads, positions, positions).mean(1).sum(1)
    return received


def install(unet: UNet2DConditionModel) -> Marks:
    """Puts the processor into the middle block's self-attentions; the first of them watches."""
    marks = Marks()
    middle = getattr(unet.mid_block, "attentions", None) or []
    blocks = [block for attention in middle for block in attention.transformer_blocks]
    marks.has_places = bool(blocks)
    for index, block in enumerate(blocks):
        block.attn1.set_processor(MarkedAttention(marks, watches=index == 0))
    return marks
