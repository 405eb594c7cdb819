"""The ledger's call about how many requests a key may send; nothing of jobs."""

import math

from shared.api_keys import ApiKey
from shared.errors import TooManyRequests
from shared.ledger.calls import Call

MINUTE_S = 60
BURST_S = 10
"""A key that was silent may send what it may send in this time at once."""


def count_request(key: ApiKey, most_per_minute: int) -> Call[None]:
    """Count one request of this key, for all gateways; raises `TooManyRequests` if it comes too early.

    What is refused is not counted. Repeated after a lost reply, it counts twice.
    """

    def parse(reply: object) -> None:
        if wait_us := int(str(reply)):
            sentence = f"Rate limit exceeded. Maximum {most_per_minute} requests per minute allowed."
            raise TooManyRequests(sentence, math.ceil(wait_us / 1_000_000))

    every_us = MINUTE_S * 1_000_000 / most_per_minute
    burst_us = every_us * max(1, most_per_minute * BURST_S // MINUTE_S)
    return Call("count_request", [key.tenant, key.key_id, every_us, burst_us], parse)
