"""Loads models: takes such jobs from the ledger one at a time, and forgets what is no longer registered.

It has a thread of its own, so that a download never takes a slot from pictures.
"""

import logging
import secrets
import threading
import time
from dataclasses import dataclass

from shared import ledger
from shared.errors import Cancelled, GenerationFailed, LedgerUnavailable
from shared.jobs import JobState, LoadSpec, Outcome
from shared.ledger import Claim, Ledger
from shared.registry import Entry
from shared.registry.reading import Registry
from shared.settings import Settings
from worker.gpu.installing import Effort, Installer
from worker.gpu.leases import Ending, Hold, LeaseKeeper
from worker.gpu.models.library import Library
from worker.gpu.models.places import Place
from worker.gpu.outcomes import Outcomes

logger = logging.getLogger(__name__)


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
        installer: Installer,
        library: Library,
        leases: LeaseKeeper,
        outcomes: Outcomes,
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._ledger = store
        self._installer = installer
        self._library = library
        self._leases = leases
        self._outcomes = outcomes
        self._registry = Registry(store)
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
            try:
                self._forget()
                worked = self._claim_and_load()
            except LedgerUnavailable:
                worked = False
            except Exception:
                logger.exception("loader failed")
                worked = False
            if not worked:
                self._draining.wait(self._settings.beat_s)

    def _forget(self) -> None:
        """Let go of entries that were dropped: their weights, and their files on this machine."""
        dropped = self._registry.look().dropped
        for entry_id in dropped - self._forgotten:
            self._installer.remove(entry_id)
        self._library.forget(dropped)
        self._forgotten = dropped

    def _claim_and_load(self) -> bool:
        """Whether there was anything to load."""
        claim = self._ledger.run(ledger.claim_load(self._worker, secrets.token_hex(16), self._settings))
        if claim is None:
            return False
        hold = Hold(claim)
        self._leases.add(hold)
        try:
            self._work(hold)
        finally:
            self._leases.remove(hold)
        return True

    def _work(self, hold: Hold) -> None:
        fields = {"job_id": hold.claim.job_id, "model_id": hold.claim.spec.model_id}
        logger.info("load started", extra=fields | {"attempts": hold.claim.attempts})
        started = time.monotonic()
        try:
            self._load(hold)
        except Cancelled:
            self._outcomes.give_up(hold)
            return
        except LedgerUnavailable:
            self._outcomes.give_back(hold.claim)
            return
        except GenerationFailed as exc:
            self._outcomes.finish(hold.claim, JobState.FAILED, Outcome(reason=exc.detail))
            return
        except Exception:
            logger.exception("load failed", extra=fields)
            self._outcomes.finish(hold.claim, JobState.FAILED, Outcome(reason="Failed, Try Again"))
            return
        seconds = time.monotonic() - started
        self._outcomes.finish(hold.claim, JobState.SUCCEEDED, Outcome(generation_time_s=seconds))

    def _load(self, hold: Hold) -> None:
        """Install it, try it out, register it."""
        spec = hold.claim.spec
        if not isinstance(spec, LoadSpec):
            raise GenerationFailed("This is no load of a model.")
        effort = Effort()
        hold.attach(Loading(hold, effort))
        entry = self._installer.install(spec, effort).model_copy(update={"recipe": spec.model_dump_json()})
        try:
            _require_family(entry, spec)
            self._library.try_out(Place(entry, self._installer.place_of(entry)))
            self._register(entry, hold.claim, spec)
        except (GenerationFailed, Cancelled):
            self._installer.remove(entry.entry_id)
            raise

    def _register(self, entry: Entry, claim: Claim, spec: LoadSpec) -> None:
        stamped = entry.model_copy(update={"loaded_at": time.time(), "rank": spec.rank})
        if not self._ledger.run(ledger.register(stamped, claim, seeded=spec.seeded)):
            raise Cancelled("The lease was lost.")
        logger.info(
            "model registered", extra={"model_id": entry.model_id, "kind": entry.kind, "bytes": entry.bytes}
        )


def _require_family(entry: Entry, spec: LoadSpec) -> None:
    if spec.families and entry.family not in spec.families:
        found = entry.family or "of an unknown architecture"
        raise GenerationFailed(
            f"Model {spec.model_id} is {found}, not {' or '.join(spec.families)}: "
            "send another model_category."
        )
