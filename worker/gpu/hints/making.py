"""Makes the hint of a ControlNet's type from a picture, in the slot's thread.

Networks run on the engine's thread for it (forward.py); which of them are loaded, is the caller's part.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from shared.errors import GenerationFailed
from shared.hints import HINT_TYPES, READY_MADE_ONLY, Tool, no_tool
from worker.gpu.engine import Pixels
from worker.gpu.hints import classic
from worker.gpu.hints.annotators import Annotator
from worker.gpu.hints.depth import DepthEstimator
from worker.gpu.hints.forward import HintNetwork, Run
from worker.gpu.hints.segmentation import Segmenter

Hint = NDArray[np.uint8] | NDArray[np.float32]
"""(height, width, 3), RGB: uint8, or for `inpaint` float32 from 0 to 1 with -1 where the mask is."""

_DRAWN: Mapping[str, Callable[[Pixels], Pixels]] = MappingProxyType(
    {
        "canny": classic.canny,
        "aesthetic-controlnet": classic.canny,
        "scribble": classic.scribble,
        "blur": classic.blur,
        "gray": classic.gray,
        "tile": classic.tile,
        "low_quality": classic.low_quality,
        # The next two take the picture as it is: the one to edit, and the code that shall be readable.
        "ip2p": np.copy,
        "qrcode": np.copy,
    }
)


def make_hint(
    kind: str,
    picture: Pixels,
    *,
    seed: int,
    mask: NDArray[np.uint8] | None,
    networks: Mapping[Tool, HintNetwork],
    run: Run,
) -> Hint:
    """The hint of this type (a key of `HINT_TYPES`), in the picture's size. Blocks while the device works.

    `mask` (height, width) is white where `inpaint` shall paint, `seed` is for `shuffle`, and `networks` holds
    what `HINT_TYPES` names for this type. Raises `GenerationFailed` with what to send instead.
    """
    if kind in READY_MADE_ONLY:
        raise GenerationFailed(no_tool(kind))
    if kind == "shuffle":
        return classic.shuffle(picture, seed)
    if kind == "inpaint":
        return _with_hole(picture, mask)
    if kind in _DRAWN:
        return _DRAWN[kind](picture)
    tool = HINT_TYPES[kind]
    if tool is None or tool not in networks:
        raise GenerationFailed(no_tool(kind))
    return networks[tool].hint(kind, picture, run)


def load_network(tool: Tool, source: str, device: torch.device, dtype: torch.dtype) -> HintNetwork:
    """`source` is what the tool's setting (`shared.hints.SETTINGS`) says.

    Raises `GenerationFailed` for what is not there, or is not what it should be.
    """
    if tool is Tool.DEPTH_ESTIMATOR:
        return DepthEstimator.load(source, device, dtype)
    if tool is Tool.SEGMENTER:
        return Segmenter.load(source, device, dtype)
    return Annotator.load(tool, source, device)


def _with_hole(picture: Pixels, mask: NDArray[np.uint8] | None) -> Hint:
    if mask is None:
        raise GenerationFailed("controlnet_type inpaint needs a mask_image that is white where to paint.")
    return classic.with_hole(picture, mask)
