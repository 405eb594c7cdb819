"""A breaker lets nothing through for a while after a failure, then one request, then all again."""

from dataclasses import dataclass

import pytest

from api.balancing.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker

MOST = 1.2
"""Of a pause, which is drawn anew each time."""


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def test_after_a_failure_one_request_is_tried_at_a_time(breaker: Breaker, clock: Clock) -> None:
    breaker.failed()
    assert not breaker.lets_through

    clock.now += MOST * FIRST_PAUSE_S
    assert breaker.lets_through
    breaker.tried()

    assert not breaker.lets_through
    breaker.succeeded()
    assert breaker.is_closed
    assert breaker.lets_through


def test_requests_that_fail_together_are_one_failure(breaker: Breaker, clock: Clock) -> None:
    for _ in range(10):
        breaker.failed()

    clock.now += MOST * FIRST_PAUSE_S
    assert breaker.lets_through


def test_each_failure_in_a_row_is_waited_for_longer_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    breaker.failed()
    clock.now += MOST * FIRST_PAUSE_S
    breaker.failed()
    clock.now += MOST * FIRST_PAUSE_S
    assert not breaker.lets_through

    for _ in range(20):
        clock.now += MOST * LONGEST_PAUSE_S
        assert breaker.lets_through
        breaker.failed()


def test_a_failure_right_after_a_success_counts(breaker: Breaker) -> None:
    breaker.failed()
    breaker.succeeded()

    breaker.failed()

    assert not breaker.lets_through
