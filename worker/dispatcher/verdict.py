"""What one answer of a webhook's receiver means: delivered, try again later, or give up."""

import email.utils
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

GONE = 410
JITTER = 0.1
LONGEST_WAIT_S = 24 * 3600.0


@dataclass(frozen=True)
class Verdict:
    what: Literal["delivered", "retry", "dead"]
    retry_in_s: float = 0.0


def judge(
    status: int | None, *, retry_after: str | None, attempts: int, schedule_s: Sequence[float]
) -> Verdict:
    """`status` is None when no answer came. `attempts` were made before this one.

    2xx is delivered; 410 asks us to stop; anything else, redirects included, is tried again by the schedule,
    later if the receiver's Retry-After says so.
    """
    if status is not None and 200 <= status < 300:
        return Verdict("delivered")
    following = attempts + 1
    if status == GONE or following >= len(schedule_s):
        return Verdict("dead")
    wait_s = schedule_s[following] * random.uniform(1 - JITTER, 1 + JITTER)
    return Verdict("retry", min(max(wait_s, _retry_after_s(retry_after)), LONGEST_WAIT_S))


def _retry_after_s(header: str | None) -> float:
    """Seconds from a Retry-After header, which holds seconds or a date; 0 if it can't be read."""
    if header is None:
        return 0.0
    if header.isascii() and header.strip().isdecimal():
        return float(header)
    try:
        return email.utils.parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
