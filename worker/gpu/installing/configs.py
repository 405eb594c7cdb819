"""Where the configs and tokenizers of single-file checkpoints come from: a folder, or a hub's repository.

Those from the hub are kept below the models folder, without weights, for the next checkpoint of the kind.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffusers.loaders.single_file_utils import DIFFUSERS_DEFAULT_PIPELINE_PATHS, infer_diffusers_model_type

from shared.errors import Cancelled, DownloadFailed, GenerationFailed, RefusedAddress
from shared.registry import ModelKind
from worker.gpu.installing.choosing import (
    NETWORK,
    PIPELINE,
    Names,
    Taste,
    inside,
    parts_of,
    small_files,
    weights_of,
)
from worker.gpu.installing.contents import Contents
from worker.gpu.installing.converting import SEND_CONFIG, Configs
from worker.gpu.installing.effort import Effort
from worker.gpu.installing.found import FLUX, SD1, SD2, SDXL
from worker.gpu.installing.hub import Hub, Repository
from worker.gpu.installing.json_files import read_json
from worker.gpu.installing.pickles import settle_indexes
from worker.gpu.installing.places import below, require_closed
from worker.gpu.installing.wholeness import check_network

FOLDER = "configs"
_TYPES = {
    SD1: ("v1", "inpainting"),
    SD2: ("v2", "inpainting_v2"),
    SDXL: ("xl_base", "xl_inpaint", "playground-v2-5"),
    FLUX: ("flux-dev", "flux-schnell"),
}
"""diffusers' model types of each family. It goes by the exact shapes of the first models, we by names."""


class LocalConfigs:
    """A folder below the models folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, part: str, place: Path) -> bool:
        source = self.folder / part
        if not any(source.glob("*.safetensors")):
            return False
        check_network(source)
        shutil.copytree(source, place / part)
        return True


class HubConfigs:
    """A hub's repository, whose configs lie in `folder`. What else is fetched of it lies in `work` first."""

    def __init__(self, address: str, folder: Path, desk: "ConfigDesk") -> None:
        self.folder = folder
        self._address = address
        self._desk = desk

    def add(self, part: str, place: Path) -> bool:
        return self._desk.fetch_part(self._address, part, place)


class ConfigDesk:
    """Finds the configs for one checkpoint, or for one autoencoder."""

    def __init__(self, models_folder: Path, hub: Hub, work: Path, taste: Taste, effort: Effort) -> None:
        self._models_folder = models_folder
        self._hub = hub
        self._work = work
        self._taste = taste
        self._effort = effort

    def find(self, said: str, contents: Contents, family: str) -> Configs:
        """As the client `said`, else as diffusers infers from the weights.

        Raises `GenerationFailed` if they can't be had.
        """
        if said:
            return self._local(said) or self._from_hub(said)
        model_type = infer_diffusers_model_type(contents.outline)
        if model_type not in _TYPES.get(family, ()):
            raise GenerationFailed(f"it is built like no model that is known here: {SEND_CONFIG}")
        return self._from_hub(DIFFUSERS_DEFAULT_PIPELINE_PATHS[model_type]["pretrained_model_name_or_path"])

    def vae_config(self, said: str) -> dict[str, Any]:
        """Of an autoencoder alone, or of a whole model's."""
        folder = (self._local(said) or self._from_hub(said)).folder
        inner = folder / "vae" if (folder / "vae").is_dir() else folder
        return read_json(inner / NETWORK)

    def fetch_part(self, address: str, part: str, place: Path) -> bool:
        """With its weights; tells whether the repository has any."""
        with _told(address):
            repository = self._hub.repository(address)
            weights = weights_of(inside(f"{part}/", repository.files), self._taste, f"{part}/")
            if not weights:
                return False
            names = small_files(f"{part}/", repository.files) | weights
            self._hub.fetch(repository, names, self._work / repository.commit, self._effort)
        settle_indexes(self._work / repository.commit / part)
        (self._work / repository.commit / part).rename(place / part)
        return True

    def _local(self, said: str) -> LocalConfigs | None:
        """None for what is no folder here, and so may be the hub's."""
        folder = below(self._models_folder, said)
        if not folder.is_dir():
            return None
        require_closed(folder, self._models_folder)
        return LocalConfigs(folder)

    def _from_hub(self, address: str) -> HubConfigs:
        folder = self._models_folder / FOLDER / f"hub--{address.replace('/', '--')}"
        if not folder.is_dir():
            with _told(address):
                self._fetch_configs(self._hub.repository(address), folder)
        return HubConfigs(address, folder, self)

    def _fetch_configs(self, repository: Repository, folder: Path) -> None:
        work = self._work / "configs"
        self._hub.fetch(repository, self._config_names(repository, work), work, self._effort)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            work.rename(folder)
        except OSError:
            if not folder.is_dir():  # another installation may have been faster
                raise

    def _config_names(self, repository: Repository, work: Path) -> Names:
        files = repository.files
        if PIPELINE not in files:
            return small_files("", files)
        index = self._hub.read(repository, PIPELINE, work, self._effort)
        names: Names = {PIPELINE: PIPELINE}
        for part in parts_of(index, ModelKind.CHECKPOINT):
            names |= small_files(f"{part}/", files)
        return names


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
    try:
        yield
    except (GenerationFailed, DownloadFailed, RefusedAddress) as exc:
        if isinstance(exc, Cancelled):
            raise
        raise GenerationFailed(
            f"its configs can't be had from {address} ({exc.detail}): {SEND_CONFIG}"
        ) from exc
