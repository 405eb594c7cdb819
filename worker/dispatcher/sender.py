"""Sends one delivery: the wire's body with Standard Webhooks headers (standardwebhooks.com)."""

import asyncio
import datetime
import json
import logging
import secrets
import threading
import time
import traceback
from collections.abc import Collection
from dataclasses import dataclass

import httpx
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from standardwebhooks.webhooks import Webhook

from shared import ledger
from shared.answers import webhook_body
from shared.broker import Bell
from shared.errors import JobNotFound, LedgerUnavailable, Misconfigured, OfAnotherVersion, RefusedAddress
from shared.jobs import Job
from shared.ledger import Delivery, Ledger
from shared.logs import about_job
from shared.outbound import Outbound, check_url
from shared.sealing import Sealer
from shared.settings import Settings
from shared.spans import carried, failed, job_span
from shared.webhooks import url_of
from worker.dispatcher.metrics import DeliveryMetrics
from worker.dispatcher.receivers import Receivers
from worker.dispatcher.verdict import Verdict, judge
from worker.task_events import End, TaskEvents

logger = logging.getLogger(__name__)

PUT_OFF_S = 10.0
"""For a dispatcher that has been updated."""
UNOPENED = "not sent: the webhook's URL can't be opened, because PRINTWORKS_SECRET_KEY is another now"
WORDS: dict[type[Exception], str] = {
    httpx.ConnectError: "no connection",
    httpx.ConnectTimeout: "no connection",
    httpx.ReadError: "the connection broke",
    httpx.WriteError: "the connection broke",
    httpx.RemoteProtocolError: "no HTTP answer",
    TimeoutError: "no answer in time",
}
"""For people who have no other view of it."""
ENDS = {"delivered": End.SUCCEEDED, "retry": End.RETRIED, "dead": End.FAILED}


@dataclass(frozen=True)
class Answer:
    """What a receiver said in a few words; no status when no answer came."""

    words: str
    status: int | None = None
    retry_after: str | None = None


class Sender:
    """What every Celery thread of the dispatcher runs. A dead receiver only costs its own attempts."""

    def __init__(
        self, settings: Settings, store: Ledger, bell: Bell, metrics: DeliveryMetrics, events: TaskEvents
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._ledger = store
        self._bell = bell
        self._events = events
        self._outbound = Outbound(settings.allow_private_hosts)
        self._sealer = Sealer(settings)
        self._receivers = Receivers(max(1, settings.deliveries_at_once // 4))
        self._ending = threading.Event()
        secret = settings.webhook_secret
        self._signer = Webhook(secret.get_secret_value()) if secret else None

    def run(self) -> None:
        """Send deliveries while any is due. Without a ledger nothing is done: the sweep rings again."""
        try:
            while not self._ending.is_set() and self._claim_and_send():
                pass
        except LedgerUnavailable:
            logger.warning("bell not followed: the ledger is out of reach")

    def drain(self) -> None:
        """Begin no other delivery."""
        self._ending.set()

    def _claim_and_send(self) -> bool:
        """Whether one was due. If more are, a bell is rung first: for another thread, beside this one."""
        with self._receivers.claimed(self._claim) as delivery:
            if delivery is None:
                return False
            self._bell.ring(delivery.bells)
            with about_job(delivery.job_id):
                self._try(delivery)
        return True

    def _try(self, delivery: Delivery) -> None:
        began, attempt = time.monotonic(), delivery.attempts + 1
        self._events.started(_task_id(delivery), job=delivery.job_id, attempt=attempt)
        try:
            job = self._ledger.run(ledger.read(delivery.job_id, None))
        except JobNotFound:
            self._finish(delivery, Verdict("dead"), "the job's record has expired", began)
            return
        except OfAnotherVersion:
            self._put_off(delivery)
            return
        with job_span("webhook", job.id, job.spec, kind=SpanKind.CLIENT, attempt=attempt) as span:
            verdict, words = self._attempt(delivery, job)
            span.set_attribute("printworks.end", verdict.what)
            if verdict.what != "delivered":
                failed(span, verdict.what)
            self._finish(delivery, verdict, words, began)

    def _put_off(self, delivery: Delivery) -> None:
        """A dispatcher of another version is to send it; no attempt is counted."""
        call = ledger.finish_delivery(delivery, "later", retry_in_s=PUT_OFF_S, answer="")
        self._ledger.run(call)
        self._events.ended(_task_id(delivery), End.RETRIED, "left to another version")
        logger.warning("webhook of another version left to its dispatchers")

    def _finish(self, delivery: Delivery, verdict: Verdict, words: str, began: float) -> None:
        took_s = time.monotonic() - began
        owed_s = delivery.owed_s if delivery.attempts == 0 else None
        self._metrics.attempted(verdict.what, took_s, None if owed_s is None else owed_s + took_s)
        call = ledger.finish_delivery(
            delivery, verdict.what, retry_in_s=verdict.retry_in_s, answer=words, took_s=took_s
        )
        self._ledger.run(call)
        self._events.ended(_task_id(delivery), ENDS[verdict.what], verdict.what)
        logger.info(f"webhook {verdict.what}", extra={"attempts": delivery.attempts + 1, "answer": words})

    def _claim(self, occupied: Collection[str]) -> Delivery | None:
        return self._ledger.run(ledger.claim_delivery(secrets.token_hex(16), self._settings, occupied))

    def _attempt(self, delivery: Delivery, job: Job) -> tuple[Verdict, str]:
        """At most one POST: what it means, and what the receiver said."""
        schedule_s = self._settings.webhook_schedule_s
        if delivery.attempts >= len(schedule_s):
            return Verdict("dead"), "every attempt was cut off"
        answer = self._post(job)
        if isinstance(answer, RefusedAddress):
            return Verdict("dead"), f"webhook {answer.detail}"
        self._receivers.heard(delivery.receiver, answered=answer.status is not None)
        verdict = judge(
            answer.status,
            retry_after=answer.retry_after,
            attempts=delivery.attempts,
            schedule_s=schedule_s,
        )
        return verdict, answer.words

    def _post(self, job: Job) -> Answer | RefusedAddress:
        """Never raises: whatever a receiver does must end as one recorded attempt."""
        try:
            return asyncio.run(asyncio.wait_for(self._exchange(job), self._settings.webhook_timeout_s))
        except RefusedAddress as exc:
            return exc
        except Misconfigured:
            return Answer(UNOPENED)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            # the exception's text may hold the URL, and that may hold a secret of the client's
            return Answer(WORDS.get(type(exc), type(exc).__name__))
        except Exception as exc:  # noqa: BLE001 - logged without its text, for the same reason
            frames = traceback.format_tb(exc.__traceback__)
            fields = {"reason": type(exc).__name__, "traceback": frames}
            logger.error("webhook attempt failed", extra=fields)
            return Answer(type(exc).__name__)

    async def _exchange(self, job: Job) -> Answer:
        url = url_of(job.spec.webhook, self._sealer)
        check_url(url, self._settings.allow_private_hosts)
        body = json.dumps(webhook_body(job), ensure_ascii=False)
        headers = {"Content-Type": "application/json"} | self._signature(job, body) | carried()
        # streamed, and left unread: the receiver's body is not our business
        async with (
            self._outbound.client() as client,
            client.stream("POST", url, content=body.encode(), headers=headers) as response,
        ):
            status = response.status_code
            trace.get_current_span().set_attribute("http.response.status_code", status)
            return Answer(f"HTTP {status}", status, response.headers.get("retry-after"))

    def _signature(self, job: Job, body: str) -> dict[str, str]:
        """The same id for every attempt, so that a receiver can drop what it has seen."""
        now = datetime.datetime.now(datetime.UTC)
        message_id = f"msg_{job.spec.file_prefix}"
        headers = {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp()))}
        if self._signer:
            headers["webhook-signature"] = self._signer.sign(message_id, now, body)
        return headers


def _task_id(delivery: Delivery) -> str:
    return f"webhook-{delivery.job_id}"
