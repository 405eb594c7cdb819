"""One peer as this gateway sees it: how it is, what it got, and whether it can be trusted with more."""

import asyncio
import contextlib
import logging
import random
import time

from api.balancing.breaker import Breaker
from api.balancing.carried import Carried
from api.balancing.choice import Standing, Wanted
from api.balancing.client import ANSWER_S, PeerClient
from api.balancing.wire import MOST_JOBS, HandOver, Question, ServerState
from shared.errors import PeerAway, PeerFull, PeerRefused
from shared.settings import Peer

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SOONEST_LOOK_S = 0.05
"""Jobs that end together are asked after together."""
STALE_AFTER = 2
"""Looks that may fail."""
MANY = 25
MOST_SKEW_S = 60.0
LEAST_NETWORK_S = 0.05
ROUND_TRIPS = 3
"""That a job costs: there, and back with its files."""
NOT_ASKED = "it has not answered yet"


class Neighbour:
    """Looks at its peer again and again while it runs. For one event loop."""

    def __init__(self, name: str, peer: Peer, here: str) -> None:
        """`here`: this server's name."""
        self.name, self.peer = name, peer
        self._here = here
        self.breaker = Breaker()
        self.peers = 1
        """How many there are, this one included."""
        self.state: ServerState | None = None
        self.models: dict[str, str] = {}
        self.carried: dict[int, Carried] = {}
        """What it makes for us, by its ids there."""
        self.given: dict[str, Carried] = {}
        """The same and what is on its way there, or is being told off, by the tokens of their leases."""
        self.flaw = NOT_ASKED
        """Why it gets no jobs; empty if it may."""
        self._models_version = ""
        self._heard_at = self._flawed_at = time.monotonic()
        self._round_trip_s = 0.0
        self._sent: dict[str, tuple[Wanted, float]] = {}
        self._unwanted: set[int] = set()
        self._look = asyncio.Event()
        self._client = PeerClient(peer, here)

    @property
    def is_unheard(self) -> bool:
        """Nobody knows yet whether it can be relied on."""
        return self.flaw == NOT_ASKED

    @property
    def is_in_rotation(self) -> bool:
        is_fresh = time.monotonic() - self._heard_at < STALE_AFTER * self._rest_s(longest=True) + ANSWER_S
        return not self.flaw and is_fresh and self.breaker.lets_through

    @property
    def flawed_s(self) -> float:
        """For how long it has been out of rotation for what it says, or says no more."""
        return time.monotonic() - self._flawed_at if self.flaw else 0.0

    @property
    def is_busy(self) -> bool:
        """With jobs of ours, as far as this gateway has to do with them."""
        return bool(self._sent or self.given)

    def standing(self) -> Standing:
        """With what was sent since it told its load."""
        assert self.state is not None  # noqa: S101 - it is in rotation
        network_s = max(LEAST_NETWORK_S, ROUND_TRIPS * self._round_trip_s)
        standing = Standing(self.state.load, network_s)
        for job, _ in self._sent.values():
            standing.send(job)
        return standing

    def sends(self, token: str, job: Wanted) -> None:
        """The job is on its way there."""
        self._sent[token] = (job, float("inf"))

    def sends_not(self, token: str) -> None:
        """It did not go, or is not there any more."""
        self._sent.pop(token, None)

    def look_now(self) -> None:
        """Something may have ended there."""
        self._look.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._look.clear()
            await self._exchange()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), self._rest_s())
            await asyncio.sleep(SOONEST_LOOK_S)

    async def hand_over(self, order: HandOver, token: str) -> int:
        """The job's id there, which `sends` has announced. Raises `PeerRefused`, `PeerAway`."""
        if not self.breaker.is_closed:
            self.breaker.tried()
        try:
            remote_id = await self._client.hand_over(order)
        except (PeerAway, PeerFull):
            self.breaker.failed()
            raise
        except PeerRefused:
            self.breaker.succeeded()
            raise
        job, _ = self._sent[token]
        self._sent[token] = (job, time.monotonic())
        self.breaker.succeeded()
        return remote_id

    async def cancel(self, remote_id: int) -> None:
        """Have it stop the job, now or when it answers again. Never fails."""
        self._unwanted.add(remote_id)
        with contextlib.suppress(PeerAway, PeerRefused):
            await self._client.cancel(remote_id)
            self._unwanted.discard(remote_id)

    async def close(self) -> None:
        await self._client.close()

    def _rest_s(self, *, longest: bool = False) -> float:
        """Until it is asked again. Many peers are asked less often, but for those that have jobs of ours."""
        factor = 1.0 if self.carried else max(1.0, self.peers / MANY)
        return LOOK_EVERY_S * factor * (1.2 if longest else random.uniform(0.8, 1.2))

    async def _exchange(self) -> None:
        asked, began = list(self.carried)[:MOST_JOBS], time.monotonic()
        try:
            state = await self._client.state(Question(known=self._models_version, jobs=tuple(asked)))
        except (PeerAway, PeerRefused) as exc:
            self._judge(exc.detail, since=self._heard_at)
            return
        except Exception:
            logger.exception("peer not asked", extra={"peer": self.name})
            return
        self._heard(state, asked, began)
        for remote_id in list(self._unwanted):
            await self.cancel(remote_id)

    def _heard(self, state: ServerState, asked: list[int], began: float) -> None:
        now = time.monotonic()
        self._round_trip_s = now - began
        self._heard_at, self.state = now, state
        if state.models is not None:
            self.models, self._models_version = state.models, state.models_version
        self._sent = {token: sent for token, sent in self._sent.items() if sent[1] > began}
        self._judge(_flaw(state, self._here, time.time() - self._round_trip_s / 2), since=now)
        for remote_id in asked:
            if carried := self.carried.get(remote_id):
                carried.hear(state.jobs.get(remote_id))

    def _judge(self, flaw: str, since: float) -> None:
        """Its way into rotation and out of it is told once."""
        if flaw and not self.flaw:
            self._flawed_at = since
        if flaw != self.flaw:
            fields = {"peer": self.name, "url": self.peer.url}
            if flaw:
                logger.warning("peer out of rotation", extra=fields | {"reason": flaw})
            else:
                logger.info("peer in rotation", extra=fields)
        self.flaw = flaw


def _flaw(state: ServerState, here: str, now_s: float) -> str:
    """Why a server that answers gets no jobs."""
    if state.name == here:
        return f"it has this server's name, {here}: set another PRINTWORKS_SERVER_NAME there"
    ahead_s = state.time_s - now_s
    if abs(ahead_s) > MOST_SKEW_S:
        return f"its clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this server's"
    return "" if state.load.slots else "none of its GPU workers is there"
