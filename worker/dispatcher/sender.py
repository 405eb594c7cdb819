"""Sends one delivery: the wire's body with Standard Webhooks headers (standardwebhooks.com)."""

import datetime
import json
import logging
import secrets

import httpx
from standardwebhooks.webhooks import Webhook

from shared import ledger
from shared.answers import webhook_body
from shared.broker import WEBHOOK_QUEUE, Bell
from shared.errors import JobNotFound, LedgerUnavailable, RefusedAddress
from shared.jobs import Job
from shared.ledger import Delivery, Ledger
from shared.outbound import guarded_client
from shared.settings import Settings
from worker.dispatcher.verdict import Verdict, judge

logger = logging.getLogger(__name__)


class Sender:
    """What every Celery thread of the dispatcher runs. A dead receiver only costs its own attempts."""

    def __init__(self, settings: Settings, store: Ledger, bell: Bell) -> None:
        self._settings = settings
        self._ledger = store
        self._bell = bell
        self._client = guarded_client(settings.allow_private_hosts, timeout_s=settings.webhook_timeout_s)
        secret = settings.webhook_secret
        self._signer = Webhook(secret.get_secret_value()) if secret else None

    def run(self) -> None:
        """Send one delivery, if one is due. Without a ledger nothing is done: the sweep rings again."""
        try:
            self._claim_and_send()
        except LedgerUnavailable:
            logger.warning("bell not followed: the ledger is out of reach")

    def _claim_and_send(self) -> None:
        """Another bell is rung first if more deliveries are due than this one."""
        delivery = self._ledger.run(ledger.claim_delivery(secrets.token_hex(16), self._settings))
        if delivery is None:
            return
        if delivery.bell_wanted:
            self._bell.ring(WEBHOOK_QUEUE)
        verdict, answer = self._attempt(delivery)
        self._ledger.run(
            ledger.finish_delivery(delivery, verdict.what, retry_in_s=verdict.retry_in_s, answer=answer)
        )
        fields = {"job_id": delivery.job_id, "attempts": delivery.attempts + 1, "answer": answer}
        logger.info("webhook " + verdict.what, extra=fields)

    def _attempt(self, delivery: Delivery) -> tuple[Verdict, str]:
        """One POST; what it means, and what the receiver said in a few words."""
        try:
            job = self._ledger.run(ledger.read(delivery.job_id, None))
            status, retry_after = self._post(job)
            answer = f"HTTP {status}"
        except JobNotFound:
            return Verdict("dead"), "the job's record has expired"
        except RefusedAddress as exc:
            return Verdict("dead"), f"webhook {exc.detail}"
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            # the exception's text may hold the URL, and that may hold a secret of the client's
            status, retry_after, answer = None, None, type(exc).__name__
        verdict = judge(
            status,
            retry_after=retry_after,
            attempts=delivery.attempts,
            schedule_s=self._settings.webhook_schedule_s,
        )
        return verdict, answer

    def _post(self, job: Job) -> tuple[int, str | None]:
        body = json.dumps(webhook_body(job), ensure_ascii=False)
        headers = {"Content-Type": "application/json"} | self._signature(job, body)
        request = self._client.build_request(
            "POST", job.spec.webhook or "", content=body.encode(), headers=headers
        )
        response = self._client.send(request, stream=True)  # the receiver's body is not our business
        response.close()
        return response.status_code, response.headers.get("retry-after")

    def _signature(self, job: Job, body: str) -> dict[str, str]:
        """The same id for every attempt, so that a receiver can drop what it has seen."""
        now = datetime.datetime.now(datetime.UTC)
        message_id = f"msg_{job.spec.file_prefix}"
        headers = {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp()))}
        if self._signer:
            headers["webhook-signature"] = self._signer.sign(message_id, now, body)
        return headers
