"""Loads models: takes such jobs from the ledger one at a time, and forgets what is no longer registered.

It has a thread of its own, so that a download never takes a slot from pictures.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from shared import ledger
from shared.errors import Cancelled, GenerationFailed, LedgerUnavailable, MakesWay
from shared.jobs import OF_ITS_CLIENT, LoadSpec, Outcome
from shared.ledger import Claim, Ledger, Registered
from shared.registry import Entry
from shared.registry.reading import Registry
from shared.settings import Settings
from worker.gpu.attending import Attendant
from worker.gpu.installing import Effort, Installer
from worker.gpu.leases import Ending, Hold
from worker.gpu.models.library import Library
from worker.gpu.models.places import Place

logger = logging.getLogger(__name__)

ABANDONED_AFTER_S = 24 * 3600.0
"""A load that was cut off is gone on with long before."""


@dataclass(frozen=True)
class Loading:
    """The load of one model, as its hold sees it."""

    hold: Hold
    effort: Effort

    @property
    def progress(self) -> float:
        return self.effort.progress

    def cancel(self) -> None:
        """What was fetched is kept if another worker is to go on."""
        self.effort.cancel(keeping_files=self.hold.ending is not Ending.CANCELLED)


class Loader:
    """One per worker; `start` it once."""

    def __init__(
        self,
        worker: str,
        settings: Settings,
        store: Ledger,
        registry: Registry,
        installer: Installer,
        library: Library,
        attendant: Attendant,
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._ledger = store
        self._installer = installer
        self._library = library
        self._attendant = attendant
        self._registry = registry
        self._forgotten: frozenset[str] = frozenset()
        self._draining = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def drain(self) -> None:
        """Begin nothing new."""
        self._draining.set()

    def close(self) -> None:
        """Waits a little for a load that is being given back."""
        self._draining.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while not self._draining.is_set():
            self._guarded(self._forget)
            if not self._guarded(self._claim_and_load):
                self._draining.wait(self._settings.beat_s)

    def _guarded(self, step: Callable[[], bool]) -> bool:
        """What one step can't do must not keep the loader from the other."""
        try:
            return step()
        except (LedgerUnavailable, MakesWay):
            return False
        except Exception:
            logger.exception("loader failed")
            return False

    def _forget(self) -> bool:
        """Let go of entries that were dropped: their weights, and their files on this machine."""
        dropped = self._registry.look().dropped
        self._library.forget(dropped)
        for entry_id in dropped - self._forgotten:
            try:
                self._installer.remove(entry_id)
            except OSError as exc:
                logger.warning("files not removed", extra={"entry": entry_id, "reason": str(exc)})
        self._forgotten = dropped
        self._installer.remove_abandoned(ABANDONED_AFTER_S)
        return True

    def _claim_and_load(self) -> bool:
        """Whether there was anything to load."""
        call = ledger.claim_load(self._worker, secrets.token_hex(16), self._settings)
        return self._attendant.attend(lambda _: self._ledger.run(call), self._load)

    def _load(self, hold: Hold) -> Outcome:
        """Install it, try it out, register it."""
        started = time.monotonic()
        spec = hold.claim.spec
        if not isinstance(spec, LoadSpec):
            raise GenerationFailed("This is no load of a model.")
        effort = Effort()
        hold.attach(Loading(hold, effort))
        entry = _with_recipe(self._installer.install(spec, effort), spec)
        try:
            _require_family(entry, spec)
            self._library.try_out(Place(entry, self._installer.place_of(entry)))
            effort.check()
            self._register(entry, hold.claim, spec)
        except Exception as exc:
            if not _goes_on(exc, hold):
                self._installer.remove(entry.entry_id)
            raise
        return Outcome(generation_time_s=time.monotonic() - started)

    def _register(self, entry: Entry, claim: Claim, spec: LoadSpec) -> None:
        before = self._registry.look().find(entry.kind, entry.model_id)
        rank = min(spec.rank, before.rank) if before else spec.rank  # who replaces the default is the default
        stamped = entry.model_copy(update={"loaded_at": time.time(), "rank": rank})
        match self._ledger.run(ledger.register(stamped, claim, seeded=spec.seeded)):
            case Registered.LOST:
                raise Cancelled("The lease was lost.")
            case Registered.SUPERSEDED:
                raise GenerationFailed(
                    f"Model {entry.model_id} was deleted, or loaded anew, after this load was asked for."
                )
        logger.info(
            "model registered", extra={"model_id": entry.model_id, "kind": entry.kind, "bytes": entry.bytes}
        )


def _goes_on(exc: Exception, hold: Hold) -> bool:
    """Whether another attempt at the load will find the files here, or has them already."""
    is_cancelled = isinstance(exc, Cancelled) and hold.ending is Ending.CANCELLED
    return isinstance(exc, Cancelled | LedgerUnavailable) and not is_cancelled


def _with_recipe(entry: Entry, spec: LoadSpec) -> Entry:
    """What another machine does to get the very same files, whatever its source holds by then."""
    source = spec.source.model_copy(update={"shown": entry.source})
    kept = spec.model_copy(update={"source": source, **OF_ITS_CLIENT})
    recipe = {"kind": spec.kind, **kept.model_dump(mode="json", exclude_defaults=True)}
    return entry.model_copy(update={"recipe": json.dumps(recipe)})


def _require_family(entry: Entry, spec: LoadSpec) -> None:
    if spec.families and entry.family not in spec.families:
        found = entry.family or "of an unknown architecture"
        raise GenerationFailed(
            f"Model {spec.model_id} is {found}, not {' or '.join(spec.families)}: "
            "send another model_category."
        )
