"""One peer as this gateway sees it: how it is, whether it can be trusted with jobs, and what it is asked."""

import asyncio
import contextlib
import logging
import random
import time
from typing import TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from api.balancing.breaker import Breaker
from api.balancing.carried import Carried
from api.balancing.choice import Standing, Wanted
from api.balancing.wire import MOST_JOBS, PATH, VIA, HandedOver, HandOver, Question, ServerState
from api.routes.families import ENTERPRISE
from shared.errors import PeerAway, PeerFull, PeerRefused
from shared.outbound import Outbound
from shared.settings import Peer
from shared.version import VERSION

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SOONEST_LOOK_S = 0.05
"""Jobs that end together are asked after together."""
ANSWER_S = 3.0
HAND_OVER_S = 10.0
"""Pictures travel too."""
STALE_S = 4.0
MOST_SKEW_S = 60.0
LEAST_NETWORK_S = 0.05
ROUND_TRIPS = 3
"""That a job costs: there, and back with its files."""
NOT_ASKED = "it has not answered yet"
LONGEST_SENTENCE = 300
NO_SENSE = "what it answers makes no sense"

_JSON = {"Content-Type": "application/json"}

M = TypeVar("M", bound=BaseModel)


class _Refusal(BaseModel):
    model_config = ConfigDict(frozen=True)

    message: str = ""


class _Versioned(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: str


class Neighbour:
    """Looks at its peer again and again while it runs. For one event loop."""

    def __init__(self, name: str, peer: Peer, here: str, outbound: Outbound) -> None:
        """`here`: this server's name; `outbound`: the way to the files that it makes."""
        self.name, self.peer, self.outbound = name, peer, outbound
        self.breaker = Breaker()
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
        self._client = httpx.AsyncClient(
            base_url=peer.url,
            trust_env=False,
            timeout=ANSWER_S,
            headers={"Authorization": f"Bearer {peer.key.get_secret_value()}", VIA: here},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    @property
    def is_in_rotation(self) -> bool:
        is_fresh = time.monotonic() - self._heard_at < STALE_S
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
            await self._exchange()
            if not self.carried and not self.breaker.is_closed:
                await asyncio.sleep(LOOK_EVERY_S)
            self._look.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), LOOK_EVERY_S * random.uniform(0.8, 1.2))
            await asyncio.sleep(SOONEST_LOOK_S)

    async def hand_over(self, order: HandOver, token: str) -> int:
        """The job's id there, which `sends` has announced. Raises `PeerRefused`, `PeerAway`."""
        if not self.breaker.is_closed:
            self.breaker.tried()
        try:
            taken = await self._post(f"{PATH}/jobs", order, HandedOver, HAND_OVER_S)
        except BaseException as exc:
            self.sends_not(token)
            if isinstance(exc, PeerAway | PeerFull):
                self.breaker.failed()
            else:
                self.breaker.succeeded()
            raise
        job, _ = self._sent[token]
        self._sent[token] = (job, time.monotonic())
        self.breaker.succeeded()
        return taken.id

    async def cancel(self, remote_id: int) -> None:
        """Have it stop the job, now or when it answers again. Never fails."""
        self._unwanted.add(remote_id)
        with contextlib.suppress(PeerAway, PeerRefused):
            await self._send(f"{ENTERPRISE}/cancel/{remote_id}", "")
            self._unwanted.discard(remote_id)

    async def close(self) -> None:
        await self._client.aclose()

    async def _exchange(self) -> None:
        asked, began = list(self.carried)[:MOST_JOBS], time.monotonic()
        try:
            question = Question(known=self._models_version, jobs=tuple(asked))
            content = await self._send(f"{PATH}/state", question.model_dump_json())
            state = _state(content)
        except (PeerAway, PeerRefused) as exc:
            self._judge(exc.detail)
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
        self._judge(_flaw(state, time.time() - self._round_trip_s / 2))
        for remote_id in asked:
            if carried := self.carried.get(remote_id):
                carried.hear(state.jobs.get(remote_id))

    def _judge(self, flaw: str) -> None:
        """Its way into rotation and out of it is told once."""
        if flaw and not self.flaw:
            self._flawed_at = time.monotonic()
        if flaw != self.flaw:
            fields = {"peer": self.name, "url": self.peer.url}
            if flaw:
                logger.warning("peer out of rotation", extra=fields | {"reason": flaw})
            else:
                logger.info("peer in rotation", extra=fields)
        self.flaw = flaw

    async def _post(self, path: str, body: BaseModel, answer: type[M], within_s: float) -> M:
        content = await self._send(path, body.model_dump_json(), within_s)
        try:
            return answer.model_validate_json(content)
        except ValidationError:
            raise PeerAway(NO_SENSE) from None

    async def _send(self, path: str, content: str, within_s: float = ANSWER_S) -> bytes:
        try:
            async with asyncio.timeout(within_s):
                answer = await self._client.post(path, content=content, headers=_JSON)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            raise PeerAway(f"it does not answer ({type(exc).__name__})") from None
        if answer.is_success:
            return answer.content
        said = f"it answers {answer.status_code}: {_sentence(answer.content)}"
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise PeerFull(said)
        if answer.is_server_error:
            raise PeerAway(said)
        raise PeerRefused(said)


def _sentence(content: bytes) -> str:
    try:
        return _Refusal.model_validate_json(content).message[:LONGEST_SENTENCE]
    except ValidationError:
        return ""


def _state(content: bytes) -> ServerState:
    """Raises `PeerRefused` for what another version says, `PeerAway` for what makes no sense."""
    try:
        version = _Versioned.model_validate_json(content).version
        if version != VERSION:
            raise PeerRefused(f"it is of version {version[:40]!r}, and this server of {VERSION!r}")
        return ServerState.model_validate_json(content)
    except ValidationError:
        raise PeerAway(NO_SENSE) from None


def _flaw(state: ServerState, now_s: float) -> str:
    """Why a server that answers gets no jobs."""
    ahead_s = state.time_s - now_s
    if abs(ahead_s) > MOST_SKEW_S:
        return f"its clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this server's"
    return "" if state.load.slots else "none of its GPU workers is there"
