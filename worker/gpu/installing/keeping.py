"""Turns what came into what is kept: checked to be what it was loaded as, in a layout that is read here."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import GenerationFailed
from shared.jobs import LoadSpec
from shared.registry import ModelKind
from worker.gpu.installing.choosing import NETWORK, PIPELINE, WEIGHTS, parts_of
from worker.gpu.installing.configs import ConfigDesk
from worker.gpu.installing.contents import Contents, is_pickle, read_contents, require_weights
from worker.gpu.installing.converting import Converter, convert_vae
from worker.gpu.installing.effort import Effort
from worker.gpu.installing.files import recognise_file
from worker.gpu.installing.folders import recognise_folder
from worker.gpu.installing.found import Found, require_kind
from worker.gpu.installing.json_files import change_json, read_json
from worker.gpu.installing.pickles import Unpickling, safe_name, settle_indexes
from worker.gpu.installing.vae_shapes import config_of
from worker.gpu.installing.wholeness import check_folder

MODEL = "model"
"""The folder of a model that is one, inside the entry's."""
DRAWING = (ModelKind.CHECKPOINT, ModelKind.VIDEO)
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 100
ADAPTER_ALONE = (
    "this is an IP-Adapter without the image encoder that it sees with: send the id of a hub's repository "
    "that is laid out as that of h94/IP-Adapter"
)
NOT_OURS = (
    "upcast_attention would change a folder that is not this server's own: set it in the folder's "
    "unet/config.json, and leave it out"
)


@dataclass(frozen=True)
class Arrival:
    """A file or a folder, as it came."""

    place: Path
    name: str
    """As its source calls it."""
    sha256: str = ""
    """Of the file, if it is known."""
    family: str = ""
    """As its source tells."""
    is_ours: bool = True
    """It may be moved and changed."""
    address: str = ""
    """Where exactly these files are found again, if it is not quite where they were asked for."""


@dataclass(frozen=True)
class Kept:
    place: Path
    found: Found
    format: str
    precision: str


class Keeper:
    """Of one installation; `folder` will be the entry's own."""

    def __init__(self, spec: LoadSpec, folder: Path, desk: ConfigDesk, unpickling: Unpickling) -> None:
        self._spec = spec
        self._folder = folder
        self._desk = desk
        self._unpickling = unpickling

    def keep(self, arrival: Arrival, effort: Effort) -> Kept:
        """Raises `GenerationFailed` for what can't be used, or not as what it was loaded as."""
        kept = self._folder_kept(arrival) if arrival.place.is_dir() else self._file_kept(arrival, effort)
        if self._spec.upcast_attention:
            self._upcast(kept.place)
        return kept

    def _folder_kept(self, arrival: Arrival) -> Kept:
        folder, kind = arrival.place, self._spec.model_kind
        found = recognise_folder(folder, kind)
        require_kind(found, kind)
        if arrival.is_ours:
            self._unpickling.make_safe(folder)
            settle_indexes(folder)
        weights = check_folder(folder, kind)
        is_pipeline = (folder / PIPELINE).is_file()
        place = folder / "vae" if is_pipeline and kind is ModelKind.VAE else folder
        if arrival.is_ours:
            place = place.rename(self._folder / MODEL)
        if arrival.is_ours and (place / PIPELINE).is_file():
            _drop_unused(place, kind)
        layout = "diffusers" if is_pipeline or "_class_name" in _config(place) else "transformers"
        return Kept(place, found, layout, _precision(weights))

    def _file_kept(self, arrival: Arrival, effort: Effort) -> Kept:
        file, is_ours, form = arrival.place, arrival.is_ours, "safetensors"
        require_weights(file)
        if is_pickle(file):
            file, is_ours = self._unpickling.safe(file, self._folder.parent), True
            form = Path(arrival.name).suffix.removeprefix(".") or "pickle"
        contents = read_contents(file)
        found = recognise_file(contents, self._spec.model_kind)
        require_kind(found, self._spec.model_kind)
        effort.check()
        if found.kinds[0] is ModelKind.IP_ADAPTER:
            raise GenerationFailed(ADAPTER_ALONE)
        place, half = self._folder / MODEL, self._spec.revision == "fp16"
        precision = "fp16" if half else contents.precision
        if self._spec.model_kind in DRAWING:
            configs = self._desk.find(self._spec.config, contents, found.family)
            Converter(contents, configs, half=half).convert(place, effort)
        elif self._spec.model_kind is ModelKind.VAE:
            convert_vae(contents, self._vae_config(contents, arrival.name), place, half=half)
        else:
            place = file.rename(self._folder / kept_name(arrival.name)) if is_ours else file
            precision = contents.precision
        return Kept(place, found, form, precision)

    def _vae_config(self, contents: Contents, name: str) -> dict[str, Any]:
        if self._spec.config:
            return self._desk.vae_config(self._spec.config)
        return config_of(contents, f"{self._spec.model_id} {self._spec.source.shown} {name}")

    def _upcast(self, place: Path) -> None:
        config = place / "unet" / NETWORK
        if not config.is_file():
            return
        if not place.is_relative_to(self._folder):
            raise GenerationFailed(NOT_OURS)
        change_json(config, upcast_attention=True)


def kept_name(name: str) -> str:
    """What a file of weights is called that came by this name. It may tell something (ControlNets')."""
    stem = safe_name(Path(name).name).removesuffix(WEIGHTS)
    plain = _UNUSUAL.sub("-", stem).strip(".-")[:_LONGEST_NAME]
    return (plain or MODEL) + WEIGHTS


def _drop_unused(folder: Path, kind: ModelKind) -> None:
    """A pipeline's index names no part that is not there."""
    index = read_json(folder / PIPELINE)
    used = parts_of(index, kind)
    unused = {
        name: [None, None] for name, value in index.items() if isinstance(value, list) and name not in used
    }
    change_json(folder / PIPELINE, **unused)


def _config(folder: Path) -> dict[str, Any]:
    return read_json(folder / NETWORK) if (folder / NETWORK).is_file() else {}


def _precision(weights: list[Contents]) -> str:
    """That of all the weights, if it is one."""
    found = {each.precision for each in weights}
    return found.pop() if len(found) == 1 else ""
