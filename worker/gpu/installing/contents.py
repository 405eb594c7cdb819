"""What a file of weights holds, read from its first bytes: names and shapes, and whether it is all there."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from shared.errors import GenerationFailed

_HEAD_BYTES = 512
_PICKLES = (b"PK\x03\x04", *(bytes((0x80, protocol)) for protocol in range(2, 6)))
_OTHER_FORMATS = {
    b"GGUF": "a GGUF file, whose weights are quantised",
    b"\x89HDF": "an HDF5 file",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a pointer to a file in Git LFS, and not the file",
}
PAGE = (
    "it is a web page and no model: send the link that downloads the file itself, with a token in it if the "
    "site wants a login"
)
MESSAGE = "its server sent a message in JSON and no model: send the link that downloads the file itself"
UNKNOWN = "it is no safetensors file: send a model whose weights are in safetensors"
BROKEN = "it is broken: its header makes no sense. Send another copy of it"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """A safetensors file that is whole."""

    file: Path
    shapes: Mapping[str, Shape]
    metadata: Mapping[str, str]
    dtypes: frozenset[str]

    @cached_property
    def outline(self) -> dict[str, Tensor]:
        """The weights without their numbers, for libraries that look at names and shapes."""
        return {name: torch.empty(shape, device="meta") for name, shape in self.shapes.items()}

    def has(self, *prefixes: str) -> bool:
        """Whether a name begins with one of these."""
        return any(name.startswith(prefixes) for name in self.shapes)

    def has_inside(self, *words: str) -> bool:
        return any(word in name for name in self.shapes for word in words)

    def first(self, matches: Callable[[str], bool]) -> Shape:
        """The first shape of those whose names match; empty if there is none."""
        return next((shape for name, shape in self.shapes.items() if matches(name)), ())

    def weights(self, *prefixes: str) -> dict[str, Tensor]:
        """Those whose names begin with one of these, as they lie in the file."""
        with safe_open(self.file, framework="pt") as weights:
            names = [name for name in self.shapes if name.startswith(prefixes)] if prefixes else self.shapes
            return {name: weights.get_tensor(name) for name in names}

    @property
    def precision(self) -> str:
        """fp16 or fp32, if all weights are."""
        floats = {dtype for dtype in self.dtypes if dtype.startswith(("F", "BF"))}
        return {frozenset({"F16"}): "fp16", frozenset({"F32"}): "fp32"}.get(frozenset(floats), "")


def is_pickle(file: Path) -> bool:
    return _head(file).startswith(_PICKLES)


def require_weights(file: Path) -> None:
    """Raises `GenerationFailed` with what the file is, if it is one of the things that are sent in place of
    weights."""
    head = _head(file)
    for magic, words in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise GenerationFailed(f"it is {words}: send a model whose weights are in safetensors")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        raise GenerationFailed(PAGE)
    if text.startswith((b"{", b"[")):
        raise GenerationFailed(MESSAGE)


def read_contents(file: Path) -> Contents:
    """Raises `GenerationFailed` if the file is no safetensors file, or not all of it is there."""
    require_weights(file)
    try:
        with safe_open(file, framework="pt") as weights:
            slices = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118 - no mapping
            shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}
            dtypes = frozenset(str(each.get_dtype()) for each in slices.values())
            metadata = dict(weights.metadata() or {})
    except (SafetensorError, OSError) as exc:
        raise GenerationFailed(_why(file)) from exc
    if not shapes:
        raise GenerationFailed("it holds no weights: send another copy of it")
    return Contents(file, shapes, metadata, dtypes)


def _why(file: Path) -> str:
    """A safetensors file is the header's length, the header, and the numbers."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or (length > size and stream.read(1) == b"{"):
            return f"it is cut off after {size:,} bytes: send another copy of it"
        try:
            header = json.loads(stream.read(length)) if length < size else {}
            needed = 8 + length + max(_ends(header))
        except (ValueError, LookupError, TypeError, AttributeError):
            return BROKEN if length < size else UNKNOWN
    if size < needed:
        return f"it is cut off: it has {size:,} of {needed:,} bytes. Send another copy of it"
    return BROKEN


def _ends(header: dict[str, dict[str, list[int]]]) -> Iterator[int]:
    return (int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__")


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_HEAD_BYTES)
