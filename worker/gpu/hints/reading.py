"""Reads the networks that hints are made with, from transformers' folders and from files of weights alone."""

import logging
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig

from shared.errors import GenerationFailed

logger = logging.getLogger(__name__)

UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, UnpicklingError)


def read_network(
    what: str, family: Any, preparing: Any, source: str, known: Sequence[str]
) -> tuple[Any, Any]:
    """A model of one of the kinds in `known`, on the CPU, and what prepares pictures for it.

    `source` is a folder or a hub id, `family` and `preparing` are transformers' classes.

    Raises `GenerationFailed` if it is of another kind, not whole, or can't be read.
    """
    try:
        kind = AutoConfig.from_pretrained(source).model_type
        if kind not in known:
            raise GenerationFailed(f"{what} is a {kind} model; it must be one of {', '.join(known)}.")
        model, report = family.from_pretrained(
            source,
            dtype=torch.float32,  # another format would become the whole process's default meanwhile
            use_safetensors=True,
            output_loading_info=True,
        )
        processor = preparing.from_pretrained(source)
    except UNREADABLE as exc:
        logger.exception("not loaded", extra={"what": what, "source": source})
        raise GenerationFailed(f"{what} can't be loaded on the server.") from exc
    if report["missing_keys"]:
        raise GenerationFailed(f"{what} is not whole: weights are missing in it.")
    return model.eval(), processor


def read_weights(what: str, file: Path) -> dict[str, Tensor]:
    """The tensors in a `.pth` file; code that hides in one is not run.

    Raises `GenerationFailed` if it is missing or can't be read.
    """
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        weights = stored.get("state_dict", stored)
        return {name.removeprefix("module."): weight for name, weight in weights.items()}
    except FileNotFoundError as exc:
        raise GenerationFailed(
            f"{what} can't be loaded on the server: {file.name} is missing there."
        ) from exc
    except (*UNREADABLE, AttributeError) as exc:
        logger.exception("not loaded", extra={"what": what, "source": str(file)})
        raise GenerationFailed(f"{what} can't be loaded on the server.") from exc
