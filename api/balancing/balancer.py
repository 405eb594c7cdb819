"""Gives the jobs that may leave to the peers that would finish them first, again and again.

One in each gateway. What it holds in memory may be lost: the ledger knows which jobs are away, and takes them
back when nobody renews their leases.
"""

import asyncio
import contextlib
import logging
import os
import platform
import random
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from random import Random
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from api.balancing.calling_back import CallingBack
from api.balancing.carried import Carried, How
from api.balancing.carrying import Carrier
from api.balancing.choice import UNKNOWN_PACE_MS, Candidate, Move, Wanted, moves
from api.balancing.facts import can_make, load_ahead
from api.balancing.neighbour import Neighbour
from api.balancing.neighbourhood import NO_PEER, Neighbourhood
from api.context import Gateway
from shared import ledger
from shared.errors import LedgerUnavailable
from shared.ledger import Claim, Leaver, ServerLoad
from shared.registry import Snapshot
from shared.spans import failed, job_span

logger = logging.getLogger(__name__)

ROUND_S = 0.5
SOONEST_ROUND_S = 0.05
LOOK_AT_PEERS_S = 1.0
MOST_REMEMBERED = 10_000
FLAWED_SHARE = 0.5
"""Of a lease: a peer that can't be relied on for so long loses the jobs that it was given."""
CLOSING_S = 3.0


class Balancer:
    """For one event loop."""

    def __init__(self, gateway: Callable[[], Gateway]) -> None:
        """`gateway`: as it is now."""
        self._gateway = gateway
        self._name = f"{platform.node()}-{os.getpid()}-carrier"
        self.neighbourhood = Neighbourhood(gateway)
        self.calling_back = CallingBack(self.neighbourhood.outbound, self._beside)
        self._carried: dict[str, Carried] = {}
        self._carrying: set[asyncio.Task[None]] = set()
        self._refused: OrderedDict[tuple[int, str], None] = OrderedDict()
        self._carrier = Carrier(gateway, self._remember_refusal, self.neighbourhood)
        self._wake = asyncio.Event()
        self._dice = Random()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def has_peers(self) -> bool:
        return bool(self.neighbourhood.all)

    async def start(self) -> None:
        with contextlib.suppress(LedgerUnavailable):
            await self.neighbourhood.look()
        for every_s, act in (
            (LOOK_AT_PEERS_S, self.neighbourhood.look),
            (SOONEST_ROUND_S, self._rounds),
            (self._gateway().settings.beat_s / 2, self._beat),
        ):
            self._tasks.append(asyncio.create_task(self._again_and_again(every_s, act)))

    async def close(self) -> None:
        """What is carried goes back into the queue, for other gateways."""
        for carried in list(self._carried.values()):
            carried.end(How.CLOSING)
        if self._carrying:
            await asyncio.wait(self._carrying, timeout=CLOSING_S)
        tasks = [*self._tasks, *self._carrying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.neighbourhood.close()

    def nudge(self) -> None:
        """A job that may leave was accepted."""
        self._wake.set()

    def came_back(self, job_id: int) -> None:
        """A peer says that it has ended a job, which this gateway may be carrying."""
        for neighbour in self.neighbourhood.all:
            if any(carried.claim.job_id == job_id for carried in neighbour.carried.values()):
                neighbour.look_now()

    async def _round(self) -> None:
        ready = [each for each in self.neighbourhood.all if each.is_in_rotation]
        if not any(each.standing().has_room(UNKNOWN_PACE_MS) for each in ready):
            return
        gateway = self._gateway()
        here = await gateway.ledger.run(ledger.load())
        if not here.leavers:
            return
        leaving = self._leaving(here, ready, await gateway.registry.look())
        for job, neighbour in leaving:
            token = secrets.token_hex(16)
            neighbour.sends(token, job)
            self._beside(self._carry(job, token, neighbour))
        if leaving and here.leavers_behind:
            self.nudge()

    def _leaving(
        self, here: ServerLoad, ready: Sequence[Neighbour], models: Snapshot
    ) -> list[tuple[Wanted, Neighbour]]:
        able = {
            each.name: frozenset(
                leaver.job_id for leaver in here.leavers if self._may_have(leaver, each, models)
            )
            for each in ready
        }
        wanted = {each.job_id: Wanted(each.job_id, each.cost, each.model_id) for each in here.leavers}
        unheard = {each.name for each in self.neighbourhood.all if each.is_unheard}
        kept, waiting = [], []
        for leaver in here.leavers:
            job = wanted[leaver.job_id]
            if leaver.job_id in able.get(leaver.peer, ()):
                # a peer that had the job when its gateway vanished is making it still
                kept.append(Move(job, leaver.peer))
            elif leaver.peer not in unheard:  # which may be about to say that it can have it again
                waiting.append(job)
        candidates = [Candidate(each.name, each.standing(), able[each.name]) for each in ready]
        return _allowed([*kept, *moves(waiting, load_ahead(here), candidates, self._dice)], ready)

    def _may_have(self, leaver: Leaver, neighbour: Neighbour, models: Snapshot) -> bool:
        if (leaver.job_id, neighbour.name) in self._refused:
            return False
        return can_make(leaver.spec, models, neighbour.models)

    async def _carry(self, job: Wanted, token: str, neighbour: Neighbour) -> None:
        """From this server's queue until it has ended, or is in the queue again."""
        gateway = self._gateway()
        call = ledger.give(job.job_id, self._name, token, neighbour.name, gateway.settings)
        try:
            claim = await gateway.ledger.run(call)
        except LedgerUnavailable:  # if it was given all the same, its lease ends
            claim = None
        if claim is None:
            neighbour.sends_not(token)
            return
        carried = self._carried[token] = neighbour.given[token] = Carried(claim)
        if neighbour not in self.neighbourhood.all:
            carried.end(How.GONE, NO_PEER)
        try:
            with job_span("give", claim.job_id, claim.spec, kind=SpanKind.CLIENT, attempt=claim.attempts):
                await self._see_through(carried, neighbour)
        finally:
            del self._carried[token], neighbour.given[token]
            neighbour.sends_not(token)

    async def _see_through(self, carried: Carried, neighbour: Neighbour) -> None:
        try:
            await self._carrier.see_through(carried, neighbour)
        except Exception as exc:
            logger.exception("job not carried any more")
            failed(trace.get_current_span(), type(exc).__name__)
            await self._carrier.give_back(carried.claim)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    def _remember_refusal(self, claim: Claim, peer: str) -> None:
        self._refused[claim.job_id, peer] = None
        while len(self._refused) > MOST_REMEMBERED:
            self._refused.popitem(last=False)

    async def _beat(self) -> None:
        settings = self._gateway().settings
        for neighbour in self.neighbourhood.all:
            if neighbour.flawed_s > FLAWED_SHARE * settings.lease_s:
                for carried in neighbour.carried.values():
                    carried.end(How.GONE, neighbour.flaw)
        held = list(self._carried.values())
        if not held:
            return
        call = ledger.renew(settings, [carried.held for carried in held])
        lost, cancelled = await self._gateway().ledger.run(call)
        for carried in held:
            if carried.claim.token in lost:
                carried.lose()
            elif carried.claim.token in cancelled:
                carried.end(How.CANCELLED)

    async def _again_and_again(self, every_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await act()
            except LedgerUnavailable:
                logger.warning("balancing waits: the ledger is out of reach")
            except Exception:
                logger.exception("balancing failed; it is tried again")
            await asyncio.sleep(every_s * random.uniform(0.8, 1.2))

    async def _rounds(self) -> None:
        """Soon after a job has come, and now and then: others may have less to do meanwhile."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), ROUND_S)
        self._wake.clear()
        await self._round()


def _allowed(found: Sequence[Move], ready: Sequence[Neighbour]) -> list[tuple[Wanted, Neighbour]]:
    """A peer that failed lately is tried with one job."""
    by_name = {each.name: each for each in ready}
    used: set[str] = set()
    allowed = []
    for move in found:
        neighbour = by_name[move.peer]
        if neighbour.breaker.is_closed or move.peer not in used:
            allowed.append((move.job, neighbour))
        used.add(move.peer)
    return allowed
