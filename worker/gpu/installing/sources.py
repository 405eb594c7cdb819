"""Brings what a client named to this machine, wherever it is."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from shared.errors import GenerationFailed
from shared.jobs import LoadSpec, Origin
from shared.sealing import Sealer
from shared.settings import Settings
from worker.gpu.installing.choosing import NETWORK, PIPELINE, SETS, SMALL, Taste, choose
from worker.gpu.installing.effort import FETCHED, Effort
from worker.gpu.installing.fetching import Fetcher, Wanted
from worker.gpu.installing.folders import recognise_folder
from worker.gpu.installing.found import require_kind
from worker.gpu.installing.hub import Hub
from worker.gpu.installing.keeping import Arrival
from worker.gpu.installing.peer import Peer
from worker.gpu.installing.places import NOTHING_THERE, below, require_closed


class Sources:
    """All that a model can come from."""

    def __init__(self, settings: Settings, sealer: Sealer, hub: Hub, taste: Taste) -> None:
        self._settings = settings
        self._sealer = sealer
        self._hub = hub
        self._taste = taste

    def fetch(self, spec: LoadSpec, folder: Path, effort: Effort) -> Arrival:
        """Into the folder, but for what lies on this machine. What an earlier attempt fetched is used.

        Raises `GenerationFailed`, `DownloadFailed` or `RefusedAddress` for what can't be had.
        """
        fetch = {
            Origin.URL: self._from_url,
            Origin.HUB: self._from_hub,
            Origin.PATH: self._from_path,
            Origin.PEER: self._from_peer,
        }[spec.source.origin]
        return fetch(spec, folder, effort)

    def _from_url(self, spec: LoadSpec, folder: Path, effort: Effort) -> Arrival:
        sealed, file = spec.source.sealed, folder / "file"
        url = self._sealer.open(sealed) if sealed else spec.source.shown

        def tell(size: int, total: int | None) -> None:
            effort.report(FETCHED * size / (total or self._settings.model_max_bytes))

        fetched = Fetcher(self._settings).fetch(Wanted(url), file, effort, tell)
        return Arrival(file, fetched.name, fetched.sha256)

    def _from_hub(self, spec: LoadSpec, folder: Path, effort: Effort) -> Arrival:
        repository = self._hub.repository(spec.source.shown)
        place = folder / repository.commit
        is_pipeline = PIPELINE in repository.files
        index = self._hub.read(repository, PIPELINE, place, effort) if is_pipeline else None
        names = choose(repository.files, index, self._taste)
        total = repository.bytes_of(names)
        configs = {path: name for path, name in names.items() if name.endswith(SMALL)}
        self._hub.fetch(repository, configs, place, effort, total=total)
        if {PIPELINE, NETWORK} & configs.keys():  # refused before gigabytes are fetched
            require_kind(recognise_folder(place, spec.model_kind), spec.model_kind)
        self._hub.fetch(repository, names, place, effort)
        if len(names) == 1 and spec.model_kind not in SETS:
            ((path, name),) = names.items()
            return Arrival(place / name, name, repository.files[path].sha256, address=repository.address)
        return Arrival(place, repository.name, address=repository.address)

    def _from_path(self, spec: LoadSpec, _: Path, __: Effort) -> Arrival:
        place = below(self._settings.models_folder, spec.source.shown)
        if not place.exists():
            raise GenerationFailed(NOTHING_THERE)
        if place.is_dir():
            require_closed(place, self._settings.models_folder)
        return Arrival(place, place.name, is_ours=False)

    def _from_peer(self, spec: LoadSpec, folder: Path, effort: Effort) -> Arrival:
        if spec.source.sealed is None:
            raise GenerationFailed("It is not known how to ask that server: send sync_models again.")
        url, key = json.loads(self._sealer.open(spec.source.sealed))  # a gateway of ours has sealed it
        trusted = [urlsplit(url).hostname or ""]
        peer = Peer(Fetcher(self._settings, trusted), url, key)
        original, place = peer.fetch(spec, folder / "peer", effort)
        return Arrival(place, place.name, original.sha256, original.family)
