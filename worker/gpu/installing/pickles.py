"""Reads pickled weights, where the operator allows it, and writes them as safetensors.

torch reads them with `weights_only`: nothing that a pickle names is called but what makes tensors and plain
containers.
"""

import json
import logging
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from shared.errors import GenerationFailed
from worker.gpu.installing.choosing import PICKLED, WEIGHTS, plain_name
from worker.gpu.installing.contents import is_pickle
from worker.gpu.installing.json_files import read_json

logger = logging.getLogger(__name__)

_PICKLED_NAME = re.compile(r"\.(?:ckpt|pth|pt|bin)(?=$|\.index\.json$)")
_WRAPPERS = ("state_dict", "params_ema", "params", "model_state_dict")
"""Under which weights lie where a pickle holds other things too."""
_UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, EOFError),
    *(AssertionError, struct.error, zipfile.BadZipFile),
)
"""What torch raises for pickles that are broken in one way or another."""
MORE_THAN_WEIGHTS = (
    "it is a pickle that holds more than weights, which may be code: send a model whose weights are in "
    "safetensors"
)
BROKEN = "it is a pickle that can't be read: send a model whose weights are in safetensors"


class Unpickling:
    """`most_bytes`: how much a pickle may hold."""

    def __init__(self, *, allowed: bool, most_bytes: int) -> None:
        self._allowed = allowed
        self._most_bytes = most_bytes

    def safe(self, file: Path, folder: Path) -> Path:
        """A safetensors file in the folder, with the weights of the pickle.

        Raises `GenerationFailed` if pickles are not allowed, or this one can't be read.
        """
        if not self._allowed:
            raise GenerationFailed(PICKLED)
        weights = _tensors(self._read(file))
        if not weights:
            raise GenerationFailed("it is a pickle without weights: send another copy of it")
        safe = folder / safe_name(f"{file.stem}.bin")
        save_file(weights, safe, metadata={"format": "pt"})
        return safe

    def make_safe(self, folder: Path) -> None:
        """Put one in the place of each pickle in the folder."""
        for file in sorted(folder.rglob("*.bin")):
            if is_pickle(file):
                self.safe(file, file.parent)
                file.unlink()

    def _read(self, file: Path) -> Any:
        try:
            if zipfile.is_zipfile(file):
                self._require_size(file)
            return torch.load(file, map_location="cpu", weights_only=True)
        except UnpicklingError as exc:
            logger.warning("pickle refused", extra={"reason": str(exc)[:200]})
            raise GenerationFailed(MORE_THAN_WEIGHTS) from None
        except _UNREADABLE as exc:
            raise GenerationFailed(BROKEN) from exc

    def _require_size(self, file: Path) -> None:
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > self._most_bytes:
                raise ValueError("it is larger than it may be")


def settle_indexes(folder: Path) -> None:
    """Have what says where each weight lies name the files as they are called now."""
    for index in sorted(folder.rglob("*.index.json")):
        content = read_json(index)
        places = content.get("weight_map")
        if isinstance(places, dict):
            content["weight_map"] = {key: safe_name(plain_name(str(name))) for key, name in places.items()}
        index.unlink()
        index.with_name(safe_name(index.name)).write_text(json.dumps(content))


def safe_name(name: str) -> str:
    """What a file is called once its weights are no pickles."""
    return re.sub(r"^pytorch_(?=model)", "", _PICKLED_NAME.sub(WEIGHTS, name))


def _tensors(read: Any) -> dict[str, Tensor]:
    """All weights, however they are wrapped; none that shares its memory with another."""
    while isinstance(read, Mapping):
        inner = next((read[name] for name in _WRAPPERS if isinstance(read.get(name), Mapping)), None)
        if inner is None:
            break
        read = inner
    if not isinstance(read, Mapping):
        return {}
    vectors = read.get("string_to_param")  # a textual inversion as the webui writes it
    if isinstance(vectors, Mapping):
        read = {"emb_params": next(iter(vectors.values()), None)}
    return {
        str(name): tensor.detach().clone().contiguous()
        for name, tensor in read.items()
        if isinstance(tensor, Tensor)
    }
