"""Keeps a process's copy of the registry: every look asks the ledger whether it has changed."""

import threading

from shared import ledger
from shared.ledger import AsyncLedger, Ledger
from shared.registry.snapshot import Snapshot


class Registry:
    """For threads."""

    def __init__(self, store: Ledger) -> None:
        self._ledger = store
        self._known: Snapshot | None = None
        self._lock = threading.Lock()

    def look(self) -> Snapshot:
        """As it is now; raises `LedgerUnavailable`."""
        with self._lock:  # or a late answer could replace a newer one
            self._known = self._ledger.run(ledger.registry(self._known))
            return self._known


class AsyncRegistry:
    """For an event loop."""

    def __init__(self, store: AsyncLedger) -> None:
        self._ledger = store
        self._known: Snapshot | None = None

    async def look(self) -> Snapshot:
        """As it is now; raises `LedgerUnavailable`."""
        found = await self._ledger.run(ledger.registry(self._known))
        self._known = found
        return found
