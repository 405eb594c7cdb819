"""Tells the server that handed a job over that it has ended. A call that is lost costs it a second."""

import asyncio
import logging
from collections.abc import Collection
from datetime import UTC, datetime

import httpx
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from api.balancing.wire import Callback
from shared.errors import RefusedAddress
from shared.outbound import Outbound, check_url

logger = logging.getLogger(__name__)

CALL_S = 5.0


async def call(callback: Callback, job_id: int, allowed_private_hosts: Collection[str]) -> None:
    """Never fails. `job_id`: here."""
    body, now = str(job_id), datetime.now(UTC)
    message_id = f"msg_{job_id}"
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(callback.secret).sign(message_id, now, body),
    }
    try:
        check_url(callback.url, allowed_private_hosts)
        outbound = await asyncio.to_thread(Outbound, allowed_private_hosts)
        async with asyncio.timeout(CALL_S), outbound.client() as client:
            await client.post(callback.url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, RefusedAddress, TimeoutError) as exc:
        fields = {"job_id": job_id, "reason": type(exc).__name__}
        logger.info("the server that gave the job was not called", extra=fields)


def is_signed(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether a call was signed with the secret that went with its job."""
    try:
        Webhook(secret).verify(body, headers)
    except (WebhookVerificationError, ValueError):
        return False
    return True
