"""Tells the server that handed a job over that it has ended. A call that is lost costs it a second."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from api.balancing.wire import Callback
from shared.errors import RefusedAddress
from shared.logs import about_job
from shared.outbound import Outbound, check_url

logger = logging.getLogger(__name__)

CALL_S = 5.0
MOST_EXPECTED = 20_000

Way = tuple[tuple[str, ...], Outbound]
"""Out, with the private hosts that it may reach."""


class CallingBack:
    """For one event loop. What it forgets, the other server finds out by asking."""

    def __init__(
        self, way: Callable[[], Awaitable[Way]], beside: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._way = way
        self._beside = beside
        self._expected: OrderedDict[int, Callback] = OrderedDict()

    def expect(self, job_id: int, callback: Callback) -> None:
        """Call when this job has ended."""
        self._expected[job_id] = callback
        while len(self._expected) > MOST_EXPECTED:
            self._expected.popitem(last=False)

    def ended(self, job_id: int) -> None:
        """Of any job."""
        if callback := self._expected.pop(job_id, None):
            with about_job(job_id):
                self._beside(self._call(callback, job_id))

    async def _call(self, callback: Callback, job_id: int) -> None:
        body, now = str(job_id), datetime.now(UTC)
        message_id = f"msg_{job_id}"
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(callback.secret).sign(message_id, now, body),
        }
        hosts, outbound = await self._way()
        try:
            check_url(callback.url, hosts)
            async with asyncio.timeout(CALL_S), outbound.client() as client:
                await client.post(callback.url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, RefusedAddress, TimeoutError) as exc:
            logger.info("the server that gave the job was not called", extra={"reason": type(exc).__name__})


def is_signed(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether a call was signed with the secret that went with its job."""
    try:
        Webhook(secret).verify(body, headers)
    except (WebhookVerificationError, ValueError):
        return False
    return True
