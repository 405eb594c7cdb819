"""Chooses the files of a hub's repository that a model needs: each weight once, and no code.

Knows names and sizes only; it fetches nothing.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from shared.errors import GenerationFailed
from shared.ip_adapters import IP_ADAPTERS
from shared.registry import ModelKind
from worker.gpu.enlarging.faces import DETECTOR, RESTORER
from worker.gpu.hints import FILES as ANNOTATORS

PIPELINE, NETWORK = "model_index.json", "config.json"
SMALL = (".json", ".txt", ".model", ".jinja")
"""Configs and tokenizers."""
WEIGHTS = ".safetensors"
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
SETS = {
    ModelKind.ANNOTATORS: tuple(ANNOTATORS.values()),
    ModelKind.FACE: (DETECTOR, RESTORER),
}
"""Kinds that are several networks of fixed names."""
IN_ONE_FILE = (ModelKind.LORA, ModelKind.EMBEDDING)
USUAL_NAMES = ("pytorch_lora_weights", "adapter_model", "learned_embeds", "diffusion_pytorch_model", "model")
"""Of weights in one file, where a repository has other files too."""
UNUSED_PARTS = {
    ModelKind.CHECKPOINT: ("safety_checker",),
    ModelKind.VIDEO: ("safety_checker",),
}
"""Of a pipeline: this server has a safety checker of its own."""
USED_PARTS = {
    ModelKind.VAE: ("vae",),
    ModelKind.SAFETY: ("safety_checker", "feature_extractor"),
}
"""Of a pipeline, where only a part of it is wanted."""
_STEM = r"(?P<stem>diffusion_pytorch_model|pytorch_model|model)"
_WEIGHTS = re.compile(
    rf"{_STEM}(?:\.(?P<early>\w+))?(?P<shard>-\d+-of-\d+)?(?:\.(?P<late>\w+))?\.(?P<format>safetensors|bin)"
)
_INDEX = re.compile(rf"{_STEM}\.(?P<format>safetensors|bin)\.index(?:\.(?P<variant>\w+))?\.json")
_HALF = re.compile(r"[-_.]fp16")

PICKLED = (
    "its weights are pickles, which can run code when they are read: send a model whose weights are in "
    "safetensors, or ask the operator to set PRINTWORKS_ALLOW_PICKLE"
)
_LONGEST_PART = 100
Names = dict[str, str]
"""File in the repository → file as it is kept, both as paths relative to their folders."""


@dataclass(frozen=True, order=True)
class _Set:
    """All of a folder's weights, in one of the forms that it has them in."""

    format: str
    variant: str
    is_sharded: bool
    stem: str


@dataclass(frozen=True)
class Taste:
    """What is wanted of what a repository has in several forms."""

    kind: ModelKind
    model_id: str = ""
    half: bool = False
    allow_pickle: bool = False


def choose(files: Collection[str], index: Mapping[str, Any] | None, taste: Taste) -> Names:
    """`index`: what the repository's model_index.json says, if it has one.

    Raises `GenerationFailed` if there is nothing to choose, or too much.
    """
    if taste.kind is ModelKind.IP_ADAPTER:
        return _adapters(files, taste)
    if taste.kind in SETS:
        return _set(files, taste)
    if taste.kind in IN_ONE_FILE:
        return _one_file(files, taste)
    if index is not None:
        return _pipeline(files, index, taste)
    if NETWORK in files and (weights := weights_of(inside("", files), taste, "")):
        return small_files("", files) | small_files("feature_extractor/", files) | weights
    return _one_file(files, taste)


def parts_of(index: Mapping[str, Any], kind: ModelKind) -> list[str]:
    """Of a pipeline, those that a model of this kind is made of."""
    parts = [
        name
        for name, value in index.items()
        if name.isidentifier()
        and len(name) <= _LONGEST_PART
        and isinstance(value, list)
        and len(value) == 2
        and value[0]
    ]
    used, unused = USED_PARTS.get(kind, parts), UNUSED_PARTS.get(kind, ())
    return [name for name in parts if name in used and name not in unused]


def small_files(folder: str, files: Collection[str]) -> Names:
    """A folder's configs and tokenizers; `folder` ends with a slash, or is empty."""
    names = (name for name in inside(folder, files) if name.endswith(SMALL) and not _INDEX.fullmatch(name))
    return {folder + name: folder + name for name in names}


def weights_of(names: Iterable[str], taste: Taste, folder: str) -> Names:
    """A folder's weights under their plain names; of several forms the one that suits best.

    Empty if there are none; raises `GenerationFailed` if they are pickles and must not be read.
    """
    forms: dict[_Set, list[str]] = {}
    names = set(names)
    for name in names:
        if found := _WEIGHTS.fullmatch(name):
            variant = found["early"] or found["late"] or ""
            form = _Set(found["format"], variant, found["shard"] is not None, found["stem"])
            forms.setdefault(form, []).append(name)
    formats = ["safetensors", *(["bin"] if taste.allow_pickle else [])]
    variants = ["fp16", "", "bf16"] if taste.half else ["", "fp16", "bf16"]
    known = [form for form in forms if form.format in formats and form.variant in variants]
    if not known:
        if forms.keys() and not any(form.format == "safetensors" for form in forms):
            raise GenerationFailed(PICKLED)
        return {}
    best = min(known, key=lambda form: (formats.index(form.format), variants.index(form.variant), form))
    chosen = forms[best] + ([_index_of(best, names)] if best.is_sharded else [])
    return {folder + name: folder + plain_name(name) for name in chosen}


def plain_name(name: str) -> str:
    """Without the variant's name, which those who read the weights would have to know."""
    if found := _WEIGHTS.fullmatch(name):
        return f"{found['stem']}{found['shard'] or ''}.{found['format']}"
    if found := _INDEX.fullmatch(name):
        return f"{found['stem']}.{found['format']}.index.json"
    return name


def _pipeline(files: Collection[str], index: Mapping[str, Any], taste: Taste) -> Names:
    chosen = {PIPELINE: PIPELINE}
    for part in parts_of(index, taste.kind):
        folder = f"{part}/"
        chosen |= small_files(folder, files) | weights_of(inside(folder, files), taste, folder)
    return chosen


def _adapters(files: Collection[str], taste: Taste) -> Names:
    """Of a repository that is laid out like h94's: all that are known here, or the one that is named."""
    wanted = [IP_ADAPTERS[taste.model_id]] if taste.model_id in IP_ADAPTERS else [*IP_ADAPTERS.values()]
    chosen: Names = {}
    for adapter in wanted:
        folder = f"{adapter.image_encoder}/"
        encoder = weights_of(inside(folder, files), taste, folder)
        if adapter.weights in files and encoder:
            chosen |= {adapter.weights: adapter.weights} | small_files(folder, files) | encoder
    if not chosen:
        raise GenerationFailed(
            "its repository is not laid out as that of h94/IP-Adapter, with the adapters' image encoders: "
            "send the id of one that is"
        )
    return chosen


def _set(files: Collection[str], taste: Taste) -> Names:
    found = {name: name for name in SETS[taste.kind] if name in files}
    if not found:
        raise GenerationFailed(f"its repository holds none of {', '.join(SETS[taste.kind])}: send another")
    if not taste.allow_pickle and any(name.endswith(PICKLES) for name in found):
        raise GenerationFailed(PICKLED)
    return found


def _one_file(files: Collection[str], taste: Taste) -> Names:
    safe = [path for path in files if path.endswith(WEIGHTS)]
    pickles = [path for path in files if path.endswith(PICKLES)]
    if not safe and pickles and not taste.allow_pickle:
        raise GenerationFailed(PICKLED)
    found = safe or pickles
    top = [path for path in found if "/" not in path]
    found = _of_precision(top or found, taste.half)
    usual = (path for name in USUAL_NAMES for path in found if PurePosixPath(path).stem == name)
    chosen = found[0] if len(found) == 1 else next(usual, None)
    if chosen is not None:
        return {chosen: PurePosixPath(chosen).name}
    if not found:
        raise GenerationFailed("its repository holds no weights that are known here: send another model")
    names = ", ".join(sorted(found)[:5])
    raise GenerationFailed(
        f"its repository holds {len(found)} models ({names}{', ...' if len(found) > 5 else ''}): "
        "send the download link of one of them"
    )


def _of_precision(paths: list[str], half: bool) -> list[str]:
    """Where a file is there in half precision too, only one of the two."""
    halves = {path for path in paths if _HALF.search(path)}
    wholes = {path for path in paths if path not in halves}
    doubled = {path for path in halves if _HALF.sub("", path) in wholes}
    dropped = {_HALF.sub("", path) for path in doubled} if half else doubled
    return [path for path in paths if path not in dropped]


def inside(folder: str, files: Collection[str]) -> list[str]:
    """Names of the files that lie in this very folder."""
    names = (path.removeprefix(folder) for path in files if path.startswith(folder))
    return [name for name in names if "/" not in name]


def _index_of(form: _Set, names: Collection[str]) -> str:
    variant = f".{form.variant}" if form.variant else ""
    index = f"{form.stem}.{form.format}.index{variant}.json"
    if index not in names:
        raise GenerationFailed(f"its repository lacks {index}, which says where each weight lies")
    return index
