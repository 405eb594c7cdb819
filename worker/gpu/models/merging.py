"""Token merging (tomesd): similar positions share their self-attention, which makes large pictures faster.

It changes the UNet's blocks in place, so it is switched between forwards, and pictures with and without it
never share one. `use_rand=False`: a random choice of the merged positions would come from a generator that
all pictures share, and seeds would not hold. Which positions are the most similar is a choice all the same:
where two are as good as equal, rounding decides, so merged pictures may differ a little from batch to batch.
"""

import tomesd
from diffusers import UNet2DConditionModel

PAYS_FROM = 2048
"""Positions in the layers where it acts; with fewer, finding the similar ones takes longer than they save."""


class TokenMerging:
    """The state of one UNet; owned by the engine's thread."""

    def __init__(self, unet: UNet2DConditionModel, share: float) -> None:
        self._unet = unet
        self._share = share
        self._is_on = False
        first = next((i for i, kind in enumerate(unet.config.down_block_types) if "CrossAttn" in kind), 0)
        self._downsample = 2**first

    def pays(self, height: int, width: int) -> bool:
        """Whether pictures of so many latent positions are made faster."""
        return bool(height * width >= PAYS_FROM * self._downsample**2)

    def switch(self, *, on: bool) -> None:
        if on == self._is_on:
            return
        if on:
            tomesd.apply_patch(self._unet, ratio=self._share, max_downsample=self._downsample, use_rand=False)
        else:
            tomesd.remove_patch(self._unet)
        self._is_on = on
