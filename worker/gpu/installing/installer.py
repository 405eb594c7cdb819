"""Installs one model: from where it is said to be, into the models folder, as an `Entry`."""

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter
from safetensors import SafetensorError

from shared.errors import Cancelled, DownloadFailed, GenerationFailed, Misconfigured, RefusedAddress
from shared.jobs import LoadSpec
from shared.registry import Entry, EntryId
from shared.sealing import Sealer
from shared.settings import Settings
from shared.spans import span
from worker.gpu.installing.choosing import Taste
from worker.gpu.installing.configs import ConfigDesk
from worker.gpu.installing.effort import FETCHED, Effort
from worker.gpu.installing.hub import Hub
from worker.gpu.installing.keeping import Keeper
from worker.gpu.installing.pickles import Unpickling
from worker.gpu.installing.records import (
    digest_of_all,
    files_in,
    read_record,
    sha256_of,
    write_record,
)
from worker.gpu.installing.room import NO_ROOM, is_full
from worker.gpu.installing.sources import Sources
from worker.gpu.installing.workplace import UNFINISHED, Workplace

logger = logging.getLogger(__name__)

REMOVING = ".removing-"
NOT_WRITTEN = "the server can't write into its models folder: ask the operator to look at it"
NOT_READ = "it can't be read as what it seems to be: send another copy of it, or another model"
_UNREADABLE = (ValueError, LookupError, TypeError, RuntimeError, AttributeError, MemoryError, SafetensorError)
"""What the libraries raise for files that are not what they expect."""
_ENTRY_ID: TypeAdapter[str] = TypeAdapter(EntryId)


class Installer:
    """Safe to share between threads, and between servers that share the models folder."""

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._settings = settings
        self._sealer = sealer
        self._folder = settings.models_folder

    def install(self, spec: LoadSpec, effort: Effort) -> Entry:
        """The entry that the spec's files became; what another attempt did already is not done again.

        Raises `GenerationFailed` with a sentence for the client, or `Cancelled`. Nothing is left behind then.
        """
        with span("install"), _in_words(spec):
            workplace = Workplace(self._folder, _ENTRY_ID.validate_python(spec.file_prefix))
            with workplace.held(effort):
                entry = self._installed(spec) or self._install(spec, workplace, effort)
        effort.report(1.0)
        return entry

    def place_of(self, entry: Entry) -> Path:
        """The entry's file or folder."""
        return entry.place(self._folder)

    def remove(self, entry_id: str) -> None:
        """Delete the entry's files, if there are any of ours, and what an attempt to install it left: unless
        one is being made just now."""
        workplace = Workplace(self._folder, _ENTRY_ID.validate_python(entry_id))
        with workplace.idle() as is_idle:
            if not is_idle:
                return
            place, doomed = self._folder / entry_id, self._folder / (REMOVING + entry_id)
            shutil.rmtree(doomed, ignore_errors=True)  # what a process left that died over it
            if read_record(place) is not None:
                place.replace(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def remove_abandoned(self, older_than_s: float) -> None:
        """Delete what attempts left that nobody has gone on with for so long."""
        for folder in self._folder.glob(f"{UNFINISHED}*"):
            if time.time() - _last_written(folder) > older_than_s:
                with Workplace(self._folder, folder.name.removeprefix(UNFINISHED)).idle():
                    pass

    def _installed(self, spec: LoadSpec) -> Entry | None:
        return read_record(self._folder / spec.file_prefix)

    def _install(self, spec: LoadSpec, workplace: Workplace, effort: Effort) -> Entry:
        taste = Taste(spec.model_kind, spec.model_id, spec.revision == "fp16", self._settings.allow_pickle)
        hub = Hub(self._settings)
        sources = Sources(self._settings, self._sealer, hub, taste)
        arrival = sources.fetch(spec, workplace.fetched, effort)
        effort.report(FETCHED)
        desk = ConfigDesk(self._folder, hub, workplace.fetched / "config", taste, effort)
        unpickling = Unpickling(
            allowed=self._settings.allow_pickle, most_bytes=self._settings.model_max_bytes
        )
        digest = arrival.sha256 or _digest(arrival.place, effort)
        kept = Keeper(spec, workplace.kept, desk, unpickling).keep(arrival, effort)
        is_ours = kept.place.is_relative_to(workplace.kept)
        entry = Entry(
            entry_id=spec.file_prefix,
            model_id=spec.model_id,
            kind=spec.model_kind,
            family=kept.found.family or arrival.family,
            source=arrival.address or spec.source.shown,
            format=spec.format or kept.format,
            revision=kept.precision,
            bytes=sum(file.stat().st_size for file in files_in(kept.place)),
            sha256=digest or digest_of_all(kept.place, effort),
            loaded_at=time.time(),
            path=str(kept.place.relative_to(workplace.kept) if is_ours else kept.place),
            rank=spec.rank,
        )
        effort.check()
        if is_ours:
            write_record(entry, workplace.kept)
            workplace.publish()
        return entry


def _last_written(folder: Path) -> float:
    """Unix seconds; now, if it is just going away."""
    times = []
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times, default=time.time())


def _digest(place: Path, effort: Effort) -> str:
    """Empty for a folder."""
    return "" if place.is_dir() else sha256_of(place, effort)


@contextlib.contextmanager
def _in_words(spec: LoadSpec) -> Iterator[None]:
    """Whatever goes wrong is told in a sentence."""
    try:
        yield
    except Cancelled:
        raise
    except (GenerationFailed, DownloadFailed, Misconfigured) as exc:
        raise _failed(spec, exc.detail) from exc
    except RefusedAddress as exc:
        raise _failed(spec, f"its address {exc.detail}") from exc
    except _UNREADABLE as exc:
        logger.exception("model not installed", extra={"model_id": spec.model_id})
        raise _failed(spec, NO_ROOM if is_full(exc) else NOT_READ) from exc
    except OSError as exc:
        logger.exception("model not installed", extra={"model_id": spec.model_id})
        raise _failed(spec, NO_ROOM if is_full(exc) else NOT_WRITTEN) from exc


def _failed(spec: LoadSpec, detail: str) -> GenerationFailed:
    return GenerationFailed(f"Model {spec.model_id} can't be loaded: {detail.rstrip('.')}.")
