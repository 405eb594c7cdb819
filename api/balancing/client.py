"""The requests to a peer. What goes wrong is either its being away or its refusal."""

import asyncio
from typing import TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from api.balancing.wire import PATH, VIA, HandedOver, HandOver, Question, ServerState
from api.routes.families import ENTERPRISE
from shared.errors import PeerAway, PeerFull, PeerRefused
from shared.settings import Peer
from shared.spans import carried
from shared.version import VERSION

ANSWER_S = 3.0
HAND_OVER_S = 6.0
"""Pictures travel too."""
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


class PeerClient:
    """Each request raises `PeerAway`, or `PeerRefused` with what the peer said."""

    def __init__(self, peer: Peer, here: str) -> None:
        """`here`: this server's name."""
        self._client = httpx.AsyncClient(
            base_url=peer.url,
            trust_env=False,
            timeout=HAND_OVER_S,
            headers={"Authorization": f"Bearer {peer.key.get_secret_value()}", VIA: here},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    async def state(self, question: Question) -> ServerState:
        content = await self._send(f"{PATH}/state", question.model_dump_json(), ANSWER_S)
        version = _read(_Versioned, content).version
        if version != VERSION:
            raise PeerRefused(f"it is of version {version[:40]!r}, and this server of {VERSION!r}")
        return _read(ServerState, content)

    async def hand_over(self, order: HandOver) -> int:
        """The job's id there; the same if it was handed over before. Raises `PeerFull` too."""
        return _read(HandedOver, await self._send(f"{PATH}/jobs", order.model_dump_json(), HAND_OVER_S)).id

    async def cancel(self, remote_id: int) -> None:
        await self._send(f"{ENTERPRISE}/cancel/{remote_id}", "", ANSWER_S)

    async def close(self) -> None:
        await self._client.aclose()

    async def _send(self, path: str, content: str, within_s: float) -> bytes:
        try:
            async with asyncio.timeout(within_s):
                answer = await self._client.post(path, content=content, headers=_JSON | carried())
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            raise PeerAway(f"it does not answer ({type(exc).__name__})") from None
        if answer.is_success:
            return answer.content
        said = f"it answers {answer.status_code}: {_sentence(answer.content)}"
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise PeerFull(said)
        raise PeerAway(said) if answer.is_server_error else PeerRefused(said)


def _read(model: type[M], content: bytes) -> M:
    try:
        return model.model_validate_json(content)
    except ValidationError:
        raise PeerAway(NO_SENSE) from None


def _sentence(content: bytes) -> str:
    try:
        return _Refusal.model_validate_json(content).message[:LONGEST_SENTENCE]
    except ValidationError:
        return ""
