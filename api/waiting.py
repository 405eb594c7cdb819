"""Waits for jobs to end, for all requests of this process."""

import asyncio
import contextlib
import time
from collections import defaultdict

from shared import ledger
from shared.errors import LedgerUnavailable
from shared.jobs import Job
from shared.ledger import AsyncLedger

RECHECK_S = 2.0
"""A message can be lost while a connection is replaced; then a request is answered this much later."""


class Waiter:
    """Wakes requests when their job has ended."""

    def __init__(self, store: AsyncLedger, most: int) -> None:
        """`most`: jobs that are waited for at a time."""
        self._ledger = store
        self._waiting: defaultdict[int, set[asyncio.Event]] = defaultdict(set)
        self._most, self._count = most, 0
        self._closing = False

    def wake(self, job_id: int) -> None:
        """The job has ended."""
        for event in self._waiting.get(job_id, ()):
            event.set()

    def release_all(self) -> None:
        """The process is about to end: every waiting request is answered with what is known now."""
        self._closing = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    async def wait(self, job: Job, timeout_s: float) -> Job:
        """The job when it has ended, or as it is after `timeout_s`; as it is now if too many wait already.

        Never raises for an unreachable ledger: the job is accepted, and saying otherwise would be false.
        """
        if timeout_s <= 0 or self._count >= self._most:
            return await self._read(job)
        self._count += 1
        try:
            return await self._wait(job, timeout_s)
        finally:
            self._count -= 1

    async def _wait(self, job: Job, timeout_s: float) -> Job:
        event = asyncio.Event()
        self._waiting[job.id].add(event)
        deadline = time.monotonic() + timeout_s
        try:
            # Read after registering: a job that ended before this moment sends no message any more.
            job = await self._read(job)
            while not job.state.is_terminal and not self._closing and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), min(RECHECK_S, deadline - time.monotonic()))
                event.clear()
                job = await self._read(job)
            return job
        finally:
            self._waiting[job.id].discard(event)
            if not self._waiting[job.id]:
                del self._waiting[job.id]

    async def _read(self, job: Job) -> Job:
        try:
            return await self._ledger.run(ledger.read(job.id, job.tenant))
        except LedgerUnavailable:
            return job
