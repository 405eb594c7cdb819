"""Runs the ledger's calls: `Ledger` from threads, `AsyncLedger` from an event loop.

Every call is safe to repeat, so both repeat it when a connection breaks; a Redis that stays away is
`LedgerUnavailable`.
"""

import asyncio
import logging
from importlib.resources import files
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.commands.core import AsyncScript, Script
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.errors import LedgerUnavailable
from shared.ledger.calls import Call

PREFIX = "pw:"
DONE_CHANNEL = PREFIX + "done"
CONNECT_TIMEOUT_S = 3.0
SOCKET_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 5.0
"""Of a gateway's calls, repeats and all: clients get an answer, also while Redis hangs."""
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
_BACKOFF = ExponentialBackoff(cap=0.5, base=0.05)
_REPEATS = 3


class Ledger:
    """For threads: the GPU worker's slots, the dispatcher, the sweeper."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.Redis.from_url(redis_url, retry=Retry(_BACKOFF, _REPEATS), **_OPTIONS)
        self._scripts: dict[str, Script] = {}

    def run(self, call: Call[T]) -> T:
        script = self._scripts.get(call.script)
        if script is None:
            script = self._scripts[call.script] = self._redis.register_script(_source(call.script))
        try:
            reply = script(keys=[PREFIX], args=list(call.arguments))
        except RedisError as exc:
            raise _unavailable(call, exc) from exc
        return call.parse(reply)

    def close(self) -> None:
        self._redis.close()


class AsyncLedger:
    """For the gateway's event loop."""

    def __init__(self, redis_url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            redis_url,
            max_connections=MOST_CONNECTIONS,
            timeout=SOCKET_TIMEOUT_S,
            retry=AsyncRetry(_BACKOFF, _REPEATS),
            **_OPTIONS,
        )
        self.redis = redis.asyncio.Redis.from_pool(pool)
        self._scripts: dict[str, AsyncScript] = {}

    async def run(self, call: Call[T]) -> T:
        script = self._scripts.get(call.script)
        if script is None:
            script = self._scripts[call.script] = self.redis.register_script(_source(call.script))
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reply = await script(keys=[PREFIX], args=list(call.arguments))
        except (RedisError, TimeoutError) as exc:
            raise _unavailable(call, exc) from exc
        return call.parse(reply)

    async def close(self) -> None:
        await self.redis.aclose()


def _unavailable(call: Call[T], error: Exception) -> LedgerUnavailable:
    logger.warning("ledger call failed", extra={"script": call.script, "reason": str(error)})
    return LedgerUnavailable(UNAVAILABLE)


def _source(name: str) -> str:
    scripts = files("shared.ledger") / "scripts"
    return "\n".join((scripts / f"{part}.lua").read_text() for part in ("prelude", name))
