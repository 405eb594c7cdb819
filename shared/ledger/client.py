"""Runs the ledger's calls: `Ledger` from threads, `AsyncLedger` from an event loop.

Every call is safe to repeat, so both repeat it when a connection breaks; a Redis that stays away is
`LedgerUnavailable`.
"""

import asyncio
import logging
import time
from importlib.resources import files
from typing import Any, TypeVar

from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.commands.core import AsyncScript, Script
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.errors import LedgerUnavailable
from shared.ledger.calls import Call
from shared.ledger.soundness import flaws
from shared.redis_servers import close, close_async, connected, connected_async

PREFIX = "pw:"
DONE_CHANNEL = PREFIX + "done"
BACK_CHANNEL = PREFIX + "back"
CONNECT_TIMEOUT_S = 3.0
SOCKET_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 5.0
"""Of a gateway's calls, repeats and all: clients get an answer, also while Redis hangs."""
PERISHES_S = 4.0
"""Less than a reply is waited for: what is done later, nobody hears of."""
CLOCK_LIFE_S = 60.0
LATE = ["late"]
MOST_CONNECTIONS = 50
"""Of one gateway; calls beyond that wait for a free one, they don't fail."""
UNAVAILABLE = "Service temporarily unavailable. Please try again later."

T = TypeVar("T")

logger = logging.getLogger(__name__)

_OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "retry_on_error": [RedisConnectionError, RedisTimeoutError],
}


class ServersClock:
    """The server's time, reckoned from this process's own clock."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._good_until = 0.0

    @property
    def is_known(self) -> bool:
        return time.monotonic() < self._good_until

    def set(self, seconds: int, microseconds: int) -> None:
        """To what the server has just said. Its words took a while to come here, so this reckons a little
        early, never late."""
        now = time.monotonic()
        self._ahead_s = seconds + microseconds / 1e6 - now
        self._good_until = now + CLOCK_LIFE_S

    def forget(self) -> None:
        self._good_until = 0.0

    def perishing_ms(self) -> int:
        """When a call that is sent now is of no use any more."""
        return round((time.monotonic() + self._ahead_s + PERISHES_S) * 1000)


_BACKOFF = ExponentialBackoff(cap=0.5, base=0.05)
_REPEATS = 3


class Ledger:
    """For threads: the GPU worker's slots, the dispatcher, the sweeper."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connected(redis_url, retry=Retry(_BACKOFF, _REPEATS), **_OPTIONS)
        self._scripts: dict[str, Script] = {}
        self._clock = ServersClock()

    def run(self, call: Call[T]) -> T:
        try:
            reply = self._reply(call)
            if reply == LATE:  # and yet it was heard: the server's clock was set
                self._clock.forget()
                reply = self._reply(call)
        except RedisError as exc:
            raise _unavailable(call, exc) from exc
        return call.parse(_in_time(call, reply))

    def _reply(self, call: Call[T]) -> Any:
        script = self._scripts.get(call.script)
        if script is None:
            script = self._scripts[call.script] = self._redis.register_script(_source(call.script))
        keys = [PREFIX]
        if call.is_perishable:
            if not self._clock.is_known:
                self._clock.set(*self._redis.time())
            keys.append(str(self._clock.perishing_ms()))
        return script(keys=keys, args=list(call.arguments))

    def close(self) -> None:
        close(self._redis)


class AsyncLedger:
    """For the gateway's event loop."""

    def __init__(self, redis_url: str) -> None:
        self.redis = connected_async(
            redis_url,
            most_connections=MOST_CONNECTIONS,
            wait_s=SOCKET_TIMEOUT_S,
            retry=AsyncRetry(_BACKOFF, _REPEATS),
            **_OPTIONS,
        )
        self._scripts: dict[str, AsyncScript] = {}
        self._clock = ServersClock()

    async def run(self, call: Call[T]) -> T:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reply = await self._reply(call)
                if reply == LATE:  # and yet it was heard: the server's clock was set
                    self._clock.forget()
                    reply = await self._reply(call)
        except (RedisError, TimeoutError) as exc:
            raise _unavailable(call, exc) from exc
        return call.parse(_in_time(call, reply))

    async def _reply(self, call: Call[T]) -> Any:
        script = self._scripts.get(call.script)
        if script is None:
            script = self._scripts[call.script] = self.redis.register_script(_source(call.script))
        keys = [PREFIX]
        if call.is_perishable:
            if not self._clock.is_known:
                self._clock.set(*await self.redis.time())
            keys.append(str(self._clock.perishing_ms()))
        return await script(keys=keys, args=list(call.arguments))

    async def flaws(self) -> list[str]:
        """What is wrong with the server, in sentences for its operator. Raises `LedgerUnavailable`."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return list(flaws(await self.redis.info()))
        except (RedisError, TimeoutError) as exc:
            raise LedgerUnavailable(UNAVAILABLE) from exc

    async def close(self) -> None:
        await close_async(self.redis)


def _in_time(call: Call[T], reply: Any) -> Any:
    """The reply; raises `LedgerUnavailable` if the call was not done."""
    if reply == LATE:
        raise _unavailable(call, TimeoutError("the server took too long"))
    return reply


def _unavailable(call: Call[T], error: Exception) -> LedgerUnavailable:
    logger.warning("ledger call failed", extra={"script": call.script, "reason": str(error)})
    return LedgerUnavailable(UNAVAILABLE)


def _source(name: str) -> str:
    scripts = files("shared.ledger") / "scripts"
    return "\n".join((scripts / f"{part}.lua").read_text() for part in ("prelude", name))
