"""Waits on conditions, never on the clock alone."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], within_s: float = 15.0, every_s: float = 0.02) -> T:
    """The condition's first true value; raises `TimeoutError` with what it last was."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s; last seen: {value!r}")
        time.sleep(every_s)
    return value
