"""The ledger's calls of operators: what they tell the workers, what they see of the cluster."""

from dataclasses import dataclass
from enum import StrEnum

from shared.broker import WEBHOOK_QUEUE
from shared.ledger.calls import CANCELLED, SWEEP_BATCH, Argument, Bells, Call, Reply, in_ms
from shared.settings import Settings

MOST_AWAY = 0.25
"""Share of the workers that may restart at a time, if it is more than one."""


class Order(StrEnum):
    """What an operator can tell all GPU workers to do."""

    RESTART = "restart"
    """Drain, end, and be started again by whoever started them; some at a time."""
    UPDATE = "update"
    """The same; and gateways read their settings, keys and models.yaml anew."""
    CLEAR_CACHE = "clear_cache"
    """Let go of the models that no job uses."""


@dataclass(frozen=True)
class Cleared:
    cancelled: int
    still_queued: int
    bells: Bells


@dataclass(frozen=True)
class Stats:
    queued: int
    running: int
    away: int
    """At other servers."""
    workers: tuple[str, ...]
    """Names of the GPU workers that beat."""
    deliveries_waiting: int
    deliveries_dead: int
    totals: dict[str, int]


def order(what: Order) -> Call[None]:
    """Tell all GPU workers, which hear it at their next beat."""
    return Call("order", [what], lambda _: None)


def take_turn(worker: str, settings: Settings) -> Call[bool]:
    """Whether the worker may restart now; then it has the turn until a worker begins to beat again."""
    arguments: list[Argument] = [worker, in_ms(settings.drain_s + settings.start_s), MOST_AWAY]
    return Call("turn", arguments, lambda reply: str(reply) == "1")


def clear_queue() -> Call[Cleared]:
    """Cancel jobs that wait, of all tenants: some of them, so that no script runs for long."""

    def parse(reply: Reply) -> Cleared:
        cancelled, still_queued, bells = reply
        return Cleared(int(cancelled), int(still_queued), tuple(bells))

    return Call("clear_queue", [CANCELLED.model_dump_json(), WEBHOOK_QUEUE, SWEEP_BATCH], parse)


def workers() -> Call[int]:
    """How many beat. Cheaper than `stats`, for those who ask often."""
    return Call("workers", [], lambda reply: int(str(reply)))


def stats() -> Call[Stats]:
    def parse(reply: Reply) -> Stats:
        queued, running, away, waiting, dead, workers, totals = reply
        return Stats(
            queued=int(queued),
            running=int(running),
            away=int(away),
            workers=tuple(workers),
            deliveries_waiting=int(waiting),
            deliveries_dead=int(dead),
            totals=dict(zip(totals[::2], map(int, totals[1::2]), strict=True)),
        )

    return Call("stats", [], parse)
