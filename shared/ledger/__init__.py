"""The ledger: every job's truth, in Redis, changed only by `scripts/` (keys: schema.md).

`calls` says what can be asked; `client` runs it, from a thread or from an event loop.
"""

from shared.ledger.calls import (
    CANCELLED,
    Accepted,
    Beats,
    Claim,
    Delivery,
    Held,
    Stats,
    Sweep,
    accept,
    beat,
    cancel,
    claim,
    claim_delivery,
    finish,
    finish_delivery,
    read,
    release,
    stats,
    sweep,
    worker_name,
)
from shared.ledger.client import DONE_CHANNEL, AsyncLedger, Ledger

__all__ = [
    "CANCELLED",
    "DONE_CHANNEL",
    "Accepted",
    "AsyncLedger",
    "Beats",
    "Claim",
    "Delivery",
    "Held",
    "Ledger",
    "Stats",
    "Sweep",
    "accept",
    "beat",
    "cancel",
    "claim",
    "claim_delivery",
    "finish",
    "finish_delivery",
    "read",
    "release",
    "stats",
    "sweep",
    "worker_name",
]
