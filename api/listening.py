"""Hears what the ledger says of jobs, for all of this process over one pub/sub subscription."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from shared.ledger import AsyncLedger

logger = logging.getLogger(__name__)

RECONNECT_S = 0.5
POLL_S = 1.0


class Listener:
    """A message can be lost while a connection is replaced: whoever listens must look by itself too."""

    def __init__(self, store: AsyncLedger, heard: Mapping[str, Sequence[Callable[[int], None]]]) -> None:
        """`heard`: who is told a job's id, by channel."""
        self._ledger = store
        self._heard = heard
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="listener")

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        while True:
            try:
                async with self._ledger.redis.pubsub() as subscription:
                    await subscription.subscribe(*self._heard)
                    await self._forward(subscription)
            except (RedisError, OSError):
                logger.warning("not listening to the ledger; trying again")
            except Exception:
                logger.exception("not listening to the ledger; trying again")
            await asyncio.sleep(RECONNECT_S)

    async def _forward(self, subscription: PubSub) -> None:
        while True:
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=POLL_S)
            if message is not None:
                for tell in self._heard[str(message["channel"])]:
                    tell(int(message["data"]))
