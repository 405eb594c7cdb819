"""Lets the UNet's cross-attention hear a picture beside the prompt, as IP-Adapters do (arXiv 2308.06721).

An adapter is switched on for its own forwards only: all others run diffusers' processors, as without any.
Self-attention (attention.py) and the layers that LoRAs act on stay as they are.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional

from shared.errors import GenerationFailed
from shared.ip_adapters import of_another_family
from worker.gpu.models.ip_adapters import IpAdapter, IpWeights


class PictureAttention:
    """Attends to the words, and by its own keys and values to the picture; the sum is what is heard."""

    def __init__(self, key: Tensor, value: Tensor) -> None:
        """`key`, `value`: (inner width, tokens' width)."""
        self._key = key
        self._value = value

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: tuple[Tensor, Tensor],
        **_: object,
    ) -> Tensor:
        """`encoder_hidden_states`: the words' (rows, tokens, width), and the picture's (rows, 2, tokens,
        width): tokens to make keys of, and to make values of. Masks, which no model here has, are ignored."""
        words, picture = encoder_hidden_states
        query = _heads(attn, attn.to_q(hidden_states))
        heard = functional.scaled_dot_product_attention(
            query, _heads(attn, attn.to_k(words)), _heads(attn, attn.to_v(words))
        )
        seen = functional.scaled_dot_product_attention(
            query,
            _heads(attn, functional.linear(picture[:, 0], self._key)),
            _heads(attn, functional.linear(picture[:, 1], self._value)),
        )
        joined = (heard + seen).transpose(1, 2).flatten(2)
        out: Tensor = attn.to_out[1](attn.to_out[0](joined))
        return out


def _heads(attn: Attention, tensor: Tensor) -> Tensor:
    """(rows, heads, positions, width of a head)"""
    heads: Tensor = tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
    return heads


class ImagePrompts:
    """The IP-Adapters of one UNet; owned by the engine's thread. Weights stay the adapters' own: nothing of
    them is copied, or kept for longer than pictures use it."""

    def __init__(self, unet: UNet2DConditionModel, *, is_xl: bool) -> None:
        self._is_xl = is_xl
        self._places: list[Attention] = [
            unet.get_submodule(name.removesuffix(".processor"))
            for name in unet.attn_processors  # the order that the files number them in
            if name.endswith("attn2.processor")
        ]
        self._plain = [place.processor for place in self._places]
        self._held: dict[str, list[PictureAttention]] = {}
        self._users: Counter[str] = Counter()
        self._active: str | None = None

    @contextmanager
    def held(self, adapter: IpAdapter | None) -> Iterator[None]:
        """Keeps `adapter`, if there is one, ready to be switched on for as long as the block runs.

        Raises `GenerationFailed` if it does not fit the model.
        """
        if adapter is None:
            yield
            return
        key = adapter.key
        if key not in self._held:
            self._held[key] = self._fitted(adapter.weights)
        self._users[key] += 1
        try:
            yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                self._forget(key)

    def switch(self, key: str | None) -> None:
        """From now on the cross-attentions hear pictures by the adapter of this key, which is held; None:
        only words."""
        if key == self._active:
            return
        processors = self._plain if key is None else self._held[key]
        for place, processor in zip(self._places, processors, strict=True):
            place.set_processor(processor)
        self._active = key

    def _fitted(self, weights: IpWeights) -> list[PictureAttention]:
        if weights.is_xl != self._is_xl:
            raise GenerationFailed(of_another_family(weights.adapter_id))
        wanted = [(place.inner_dim, place.cross_attention_dim) for place in self._places]
        if any([tuple(each.shape) for each in side] != wanted for side in zip(*weights.layers, strict=True)):
            raise GenerationFailed(
                f"IP-Adapter {weights.adapter_id} does not fit this model: leave ip_adapter_id out."
            )
        return [PictureAttention(key, value) for key, value in weights.layers]

    def _forget(self, key: str) -> None:
        if key == self._active:
            self.switch(None)
        del self._held[key], self._users[key]
