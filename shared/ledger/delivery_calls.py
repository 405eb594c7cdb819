"""The ledger's calls about deliveries: sending them, what became of them, sending them again."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from shared.broker import WEBHOOK_QUEUE
from shared.errors import BadRequest, JobNotFound
from shared.ledger.calls import NOT_FOUND, Argument, Bells, Call, Reply, in_ms
from shared.settings import Settings

LEASE_MARGIN_S = 10.0
MOST_ATTEMPTS = 50
"""Attempts of one delivery that are remembered; the oldest are forgotten first."""
PAGE = 100
"""Dead deliveries that are listed at a time."""
REPLAY_BATCH = 200

NO_WEBHOOK = "This request named no webhook, so there is nothing to deliver: send one with the request."
NOT_ENDED = "This request has not ended yet: its webhook is sent when it has."


@dataclass(frozen=True)
class Delivery:
    """A leased webhook; `attempts` were made before this one."""

    job_id: int
    token: str
    receiver: str
    attempts: int
    bells: Bells
    owed_s: float | None
    """Since the job ended, by Redis' clock; None for a replay, which is owed since somebody asked for it."""


class DeliveryState(StrEnum):
    DUE = "due"
    """The first attempt, or another one, is still to come."""
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up."""


@dataclass(frozen=True)
class Attempt:
    """`began_at` in Unix seconds. `took_s` and `answer` are None while it is under way, and for ever if its
    dispatcher vanished; then `is_cut_off`."""

    began_at: float
    took_s: float | None
    answer: str | None
    is_cut_off: bool


@dataclass(frozen=True)
class DeliveryLog:
    """What became of one delivery; the newest attempt is the last."""

    state: DeliveryState
    next_at: float | None
    """Unix seconds of the next attempt; None if none is to come, or one is under way."""
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class DeadDelivery:
    job_id: int
    given_up_at: float
    """Unix seconds."""
    attempts: int
    answer: str
    """To the last attempt."""


@dataclass(frozen=True)
class DeadLetters:
    """One page of them, the newest first."""

    total: int
    page: tuple[DeadDelivery, ...]


@dataclass(frozen=True)
class Replayed:
    count: int
    bells: Bells


def claim_delivery(token: str, settings: Settings, occupied: Collection[str] = ()) -> Call[Delivery | None]:
    """Lease the webhook that is due longest, but for those to `occupied` receivers; None if none is due."""

    def parse(reply: Reply) -> Delivery | None:
        if not reply:
            return None
        job_id, receiver, attempts, bells, owed_ms = reply
        return Delivery(
            job_id=int(job_id),
            token=token,
            receiver=receiver,
            attempts=int(attempts),
            bells=tuple(bells),
            owed_s=_seconds(owed_ms) if owed_ms else None,
        )

    lease_ms = in_ms(settings.webhook_timeout_s + LEASE_MARGIN_S)
    arguments: list[Argument] = [token, lease_ms, WEBHOOK_QUEUE, MOST_ATTEMPTS, *occupied]
    return Call("claim_delivery", arguments, parse, is_perishable=True)


def finish_delivery(
    delivery: Delivery,
    verdict: Literal["delivered", "retry", "dead", "later"],
    *,
    retry_in_s: float = 0.0,
    answer: str,
    took_s: float = 0.0,
) -> Call[bool]:
    """Record one attempt, or that none was made (`later`); false if the lease was lost."""
    arguments: list[Argument] = [
        *(delivery.job_id, delivery.token, verdict, in_ms(retry_in_s)),
        *(answer, in_ms(took_s)),
    ]
    return Call("finish_delivery", arguments, lambda reply: str(reply) == "recorded")


def delivery_log(job_id: int, tenant: str) -> Call[DeliveryLog]:
    """What became of the delivery of a tenant's job; raises as `replay` does."""

    def parse(reply: Reply) -> DeliveryLog:
        state, due_ms, *attempts = _owed(reply)
        is_due = state == DeliveryState.DUE
        last = len(attempts) - 1 if state == DeliveryState.SENDING else None
        return DeliveryLog(
            DeliveryState(state),
            _seconds(due_ms) if is_due else None,
            tuple(_attempt(told, is_under_way=i == last) for i, told in enumerate(attempts)),
        )

    return Call("delivery", [job_id, tenant], parse)


def dead_letters(tenant: str, page: int) -> Call[DeadLetters]:
    """A page of a tenant's dead deliveries; the first page is 1."""

    def parse(reply: Sequence[Sequence[str]]) -> DeadLetters:
        total, *dead = reply
        return DeadLetters(
            int(str(total)),
            tuple(
                DeadDelivery(int(job_id), _seconds(ended_ms), int(attempts), answer)
                for job_id, ended_ms, attempts, answer in dead
            ),
        )

    return Call("dead", [tenant, (page - 1) * PAGE, PAGE], parse)


def replay(job_id: int, tenant: str) -> Call[Replayed]:
    """Make a delivery again, by the whole schedule and under the same id; one that is due is due now.

    Raises `JobNotFound`, and `BadRequest` for a job that names no webhook or has not ended. Repeating the
    call changes nothing.
    """

    def parse(reply: Reply) -> Replayed:
        return Replayed(1, tuple(_owed(reply)[1]))

    return Call("replay", [job_id, tenant, secrets.token_hex(8), WEBHOOK_QUEUE], parse)


def replay_dead(tenant: str, asked: str) -> Call[Replayed]:
    """Make a tenant's dead deliveries again: some of them, so that no script runs for long.

    `asked` names the asking: what dies once more is not made again by the same one.
    """

    def parse(reply: Reply) -> Replayed:
        count, bells = reply
        return Replayed(int(count), tuple(bells))

    return Call("replay_dead", [tenant, asked, WEBHOOK_QUEUE, REPLAY_BATCH], parse)


def _owed(reply: Reply) -> Reply:
    match reply:
        case []:
            raise JobNotFound(NOT_FOUND)
        case ["none"]:
            raise BadRequest(NO_WEBHOOK)
        case ["open"]:
            raise BadRequest(NOT_ENDED)
    return reply


def _attempt(told: str, *, is_under_way: bool) -> Attempt:
    """From what finish_delivery.lua has written: when it began, and how long it took and what was said."""
    began_ms, *rest = told.split(" ", 2)
    if not rest:
        return Attempt(_seconds(began_ms), None, None, is_cut_off=not is_under_way)
    took_ms, answer = rest
    return Attempt(_seconds(began_ms), _seconds(took_ms), answer, is_cut_off=False)


def _seconds(ms: str) -> float:
    return float(ms) / 1000
