"""Reads files of weights that the optional library `spandrel` knows, whatever networks they are of."""

import importlib
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from shared.errors import GenerationFailed

logger = logging.getLogger(__name__)


def read_descriptor(what: str, file: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """spandrel's descriptor of the network, which is called like the network itself; in float32 where it
    can't run in `dtype`.

    Raises `GenerationFailed`, with `what` as its subject.
    """
    spandrel = _import_spandrel(what)
    try:
        model = spandrel.ModelLoader().load_from_file(file).eval()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
        raise unreadable(what) from exc
    except spandrel.UnsupportedModelError as exc:
        raise GenerationFailed(f"{what} is none of the networks that spandrel knows.") from exc
    if (model.input_channels, model.output_channels) != (3, 3):
        raise GenerationFailed(f"{what} is no network for pictures in colour.")
    supported = {torch.float16: model.supports_half, torch.bfloat16: model.supports_bfloat16}
    return model.to(device, dtype if supported.get(dtype, True) else torch.float32)


def unreadable(what: str) -> GenerationFailed:
    return GenerationFailed(f"{what} can't be loaded on the server.")


def _import_spandrel(what: str) -> Any:
    """Only when it is needed: it brings torchvision along, whose build must fit torch's."""
    try:
        return importlib.import_module("spandrel")
    except (ImportError, RuntimeError) as exc:  # a torchvision that does not fit raises the latter
        logger.exception("spandrel not imported", extra={"what": what})
        raise GenerationFailed(
            f"{what} needs a library that the server lacks: install the `esrgan` extra "
            "(pip install 'printworks[esrgan]') with the torchvision build that fits its torch."
        ) from exc
