"""Renews the leases of the jobs that this worker holds, from a thread of its own."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from shared import ledger
from shared.errors import LedgerUnavailable, MakesWay
from shared.ledger import Claim, Held, Ledger
from shared.settings import Settings
from worker.gpu.models.library import Library
from worker.gpu.orders import Orders

logger = logging.getLogger(__name__)

PROGRESS_S = 0.5
"""Progress is told at most this often."""


class Ending(Enum):
    """Why a slot is to stop working on its job."""

    CANCELLED = auto()
    LOST = auto()
    DRAINED = auto()


class Work(Protocol):
    """What is being done for a job: a rendering in the engine, or the load of a model."""

    @property
    def progress(self) -> float:
        """0 to 1."""

    def cancel(self) -> None:
        """Have it end soon, with `Cancelled`."""


class Hold:
    """One claimed job in this worker. A slot, or the loader, works on it; others may end it."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.ending: Ending | None = None
        self._work: Work | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._claimed_at = time.monotonic()

    @property
    def held(self) -> Held:
        progress = self._work.progress if self._work else 0.0
        return Held(self.claim.job_id, self.claim.token, progress)

    def since_claim_s(self, moment: float) -> float:
        """How long after the claim this moment of the monotonic clock is."""
        return moment - self._claimed_at

    def attach(self, work: Work) -> None:
        """Tie the work's life to this hold, even if it was ended before."""
        with self._lock:
            self._work = work
            if self.ending:
                work.cancel()

    def end(self, ending: Ending) -> None:
        """The first reason counts; the slot hears of it at the next denoising step."""
        with self._lock:
            self.ending = self.ending or ending
            self._ended.set()
            if self._work:
                self._work.cancel()

    def ends_within(self, seconds: float) -> bool:
        """Waits for that."""
        return self._ended.wait(seconds)


class LeaseKeeper:
    """Beats for all holds of this worker, and tells the ledger what the worker has loaded."""

    def __init__(
        self, worker: str, settings: Settings, store: Ledger, library: Library, orders: Orders
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._ledger = store
        self._library = library
        self._orders = orders
        self._holds: dict[str, Hold] = {}  # by token
        self._told: dict[str, float] = {}
        self._beaten_at: float | None = None
        self._ending_all: Ending | None = None
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """What the worker held is ended; nobody is to count on it any more."""
        self._stop.set()
        self._thread.join(timeout=2)
        with contextlib.suppress(LedgerUnavailable):
            self._ledger.run(ledger.worker_ends(self._worker))

    @property
    def silent_s(self) -> float | None:
        """Since the ledger last heard of this worker; None if it never has."""
        beaten_at = self._beaten_at
        return None if beaten_at is None else time.monotonic() - beaten_at

    def take(self, claim: Callable[[bool], Claim | None]) -> Hold | None:
        """A job by `claim`, which is told whether this worker holds none; held from now on. One claim at a
        time, because a job that must be alone gets company neither from those before it nor from those after.
        Raises `MakesWay` while there is one.
        """
        with self._claiming:
            held = self._current()
            if any(hold.claim.is_alone for hold in held):
                raise MakesWay(ledger.MAKES_WAY)
            claimed = claim(not held)
            return self._hold(claimed) if claimed else None

    def _hold(self, claim: Claim) -> Hold:
        hold = Hold(claim)
        with self._lock:
            self._holds[claim.token] = hold
            if self._ending_all:
                hold.end(self._ending_all)
        return hold

    def remove(self, hold: Hold) -> None:
        with self._lock:
            self._holds.pop(hold.claim.token, None)

    def end_all(self, ending: Ending) -> None:
        """End what is held, and whatever a slot is claiming at this moment."""
        with self._lock:
            self._ending_all = ending
        for hold in self._current():
            hold.end(ending)

    def _run(self) -> None:
        while True:
            try:
                self._beat()
            except LedgerUnavailable:
                logger.warning("beat skipped: the ledger is out of reach")
            except Exception:
                logger.exception("beat failed")
            if self._wait():
                return

    def _wait(self) -> bool:
        """Until the next beat is due, or there is progress to tell; True: the worker ends."""
        due = time.monotonic() + self._settings.beat_s
        while time.monotonic() < due:
            if self._stop.wait(min(PROGRESS_S, self._settings.beat_s)):
                return True
            if _progress(self._current()) != self._told:
                break
        return False

    def _beat(self) -> None:
        holds = self._current()
        self._told = _progress(holds)
        held = [hold.held for hold in holds]
        specs = (hold.claim.spec for hold in holds)
        facts = ledger.WorkerFacts(
            device=str(self._library.device),
            pool=self._settings.pool,
            serves=self._settings.serves,
            slots=self._settings.slots,
            models=self._library.loaded_ids,
            load_s=self._library.load_s,
            jobs=ledger.held_jobs(zip(specs, (each.progress for each in held), strict=True)),
        )
        beats = self._ledger.run(ledger.beat(self._worker, facts, self._settings, held))
        self._beaten_at = time.monotonic()
        for hold in holds:
            if hold.claim.token in beats.lost:
                hold.end(Ending.LOST)
            elif hold.claim.token in beats.cancelled:
                hold.end(Ending.CANCELLED)
        self._orders.hear(beats.orders)
        if self._orders.restart_wanted and self._ledger.run(ledger.take_turn(self._worker, self._settings)):
            self._orders.restart()

    def _current(self) -> list[Hold]:
        with self._lock:
            return list(self._holds.values())


def _progress(holds: list[Hold]) -> dict[str, float]:
    return {hold.claim.token: hold.held.progress for hold in holds}
