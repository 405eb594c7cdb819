"""Checks that a folder has all the weights that its configs speak of, and that each file of them is whole."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.errors import GenerationFailed
from shared.ip_adapters import IP_ADAPTERS, installed
from shared.registry import ModelKind
from worker.gpu.installing.choosing import (
    NETWORK,
    PICKLED,
    PICKLES,
    PIPELINE,
    SETS,
    WEIGHTS,
    parts_of,
    plain_name,
)
from worker.gpu.installing.contents import Contents, read_contents
from worker.gpu.installing.json_files import read_json
from worker.gpu.installing.places import is_inside
from worker.gpu.models.loading import PARTS

_INDEXES = ("diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.json")
_WHOLES = ("diffusion_pytorch_model.safetensors", "model.safetensors")


def check_folder(folder: Path, kind: ModelKind) -> list[Contents]:
    """All its weights. Raises `GenerationFailed` if some that a model of this kind needs are not there."""
    if kind is ModelKind.IP_ADAPTER:
        return _check_adapters(folder)
    if kind in SETS:
        return _check_set(folder, kind)
    if not (folder / PIPELINE).is_file():
        return check_network(folder)
    found: list[Contents] = []
    for part in parts_of(read_json(folder / PIPELINE), kind):
        if not (folder / part).is_dir():
            raise GenerationFailed(f"{part}/ is missing: send a whole folder")
        if part in PARTS or (folder / part / NETWORK).is_file():
            with _naming(part):
                found += check_network(folder / part)
    return found


def check_network(folder: Path) -> list[Contents]:
    """All weights of one network. Raises `GenerationFailed` if some are not there."""
    if not (folder / NETWORK).is_file():
        raise GenerationFailed(f"{NETWORK} is missing: send a whole folder")
    # each of them: which one is followed, the library decides that reads the weights
    indexes = [name for name in _INDEXES if (folder / name).is_file()]
    if indexes:
        maps = [read_json(folder / name).get("weight_map") for name in indexes]
        return [weights for places in maps for weights in _check_shards(folder, places)]
    for name in _WHOLES:
        if (folder / name).is_file():
            return [_read(folder, name)]
    raise _no_weights(sorted(file.name for file in folder.iterdir()))


def _no_weights(names: list[str]) -> GenerationFailed:
    """`names`: of the files that there are."""
    for name in names:
        if plain_name(name) in (*_INDEXES, *_WHOLES):
            return GenerationFailed(f"{name} must be called {plain_name(name)} to be found")
    if any(name.endswith(PICKLES) for name in names):
        return GenerationFailed(PICKLED)
    return GenerationFailed(f"{' or '.join(_WHOLES)} is missing: send a whole folder")


def _check_shards(folder: Path, places: Any) -> list[Contents]:
    """`places`: for each weight the name of the file that has it."""
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise GenerationFailed("the index of the weights is broken: send another copy of it")
    shards = {name: _read(folder, name) for name in sorted(set(places.values()))}
    lost = [weight for weight, name in places.items() if weight not in shards[name].shapes]
    if lost:
        raise GenerationFailed(f"{len(lost)} of the weights are missing: send another copy of it")
    return [*shards.values()]


def _check_set(folder: Path, kind: ModelKind) -> list[Contents]:
    """Annotators can be had one by one; what finds a face is of no use without what restores it."""
    for name in SETS[kind]:
        if kind is ModelKind.FACE and not (folder / name).is_file():
            raise GenerationFailed(f"{name} is missing: send a whole folder")
    return [_read(folder, name) for name in SETS[kind] if name.endswith(WEIGHTS)]


def _check_adapters(folder: Path) -> list[Contents]:
    found: list[Contents] = []
    for adapter_id in installed(folder):
        files = IP_ADAPTERS[adapter_id]
        found.append(_read(folder, files.weights))
        with _naming(files.image_encoder):
            found += check_network(folder / files.image_encoder)
    return found


def _read(folder: Path, name: str) -> Contents:
    if not is_inside(name) or not _is_file(folder / name):
        raise GenerationFailed(f"{name[:100]} is missing: send a whole folder")
    with _naming(name):
        return read_contents(folder / name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can be called that
        return False


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """Which part of a model is meant."""
    try:
        yield
    except GenerationFailed as exc:
        raise GenerationFailed(f"{what}: {exc.detail}") from exc
