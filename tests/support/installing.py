"""An installer with a models folder of its own, and what tests ask it for."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from shared.errors import GenerationFailed
from shared.jobs.load import LoadSpec, ModelSource, Origin
from shared.registry import Entry, ModelKind
from shared.sealing import Sealer
from shared.settings import Settings
from worker.gpu.installing import Effort, Installer


class Workshop:
    """Our own address may be reached, unless `changes` say otherwise."""

    def __init__(self, folder: Path, **changes: object) -> None:
        known = {
            "data_dir": folder / "data",
            "allow_private_hosts": ("127.0.0.1",),
            "secret_key": "a secret of the tests",
            "hub_url": "http://127.0.0.1:9",
            "model_stall_s": 5.0,
        }
        self.settings = Settings.model_validate(known | changes)
        self.sealer = Sealer(self.settings)
        self.installer = Installer(self.settings, self.sealer)
        self.models = self.settings.models_folder
        self.models.mkdir(parents=True, exist_ok=True)

    def install(self, spec: LoadSpec, effort: Effort | None = None) -> Entry:
        return self.installer.install(spec, effort or Effort())

    def place(self, spec: LoadSpec) -> Path:
        """Where the model lies once it is installed."""
        return self.installer.place_of(self.install(spec))

    def refusal(self, spec: LoadSpec) -> str:
        """The sentence, without its beginning; nothing may be left but what was there before."""
        before = self.files
        with pytest.raises(GenerationFailed) as caught:
            self.install(spec)
        assert self.files == before
        beginning = f"Model {spec.model_id} can't be loaded: "
        assert caught.value.detail.startswith(beginning)
        return caught.value.detail.removeprefix(beginning)

    @property
    def files(self) -> list[str]:
        """All that lies in the models folder, but for the cache of configs."""
        paths = (path.relative_to(self.models) for path in self.models.rglob("*"))
        return sorted(str(path) for path in paths if path.parts[0] != "configs")


def wanted(
    kind: ModelKind, origin: Origin, shown: str, sealed: str | None = None, **changes: Any
) -> LoadSpec:
    known = {
        "model_id": "wanted",
        "model_kind": kind,
        "source": ModelSource(origin=origin, shown=shown, sealed=sealed),
        "file_prefix": str(uuid.uuid4()),
        "public_url": "http://printworks.test",
    }
    return LoadSpec.model_validate(known | changes)


def from_url(kind: ModelKind, url: str, **changes: Any) -> LoadSpec:
    return wanted(kind, Origin.URL, url, **changes)


def from_hub(kind: ModelKind, address: str, **changes: Any) -> LoadSpec:
    return wanted(kind, Origin.HUB, address, **changes)


def from_path(kind: ModelKind, path: str | Path, **changes: Any) -> LoadSpec:
    return wanted(kind, Origin.PATH, str(path), **changes)
