"""When a peer that failed is trusted again."""

import pytest

from api.balancing.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def test_all_go_through_while_all_is_well(breaker: Breaker) -> None:
    breaker.tried()
    breaker.succeeded()

    assert breaker.is_closed
    assert breaker.lets_through


def test_after_a_failure_none_goes_through_until_the_pause_is_over(breaker: Breaker, clock: Clock) -> None:
    breaker.failed()
    assert not breaker.lets_through
    clock.now_s = 0.7 * FIRST_PAUSE_S
    assert not breaker.lets_through
    clock.now_s = 1.3 * FIRST_PAUSE_S
    assert breaker.lets_through
    assert not breaker.is_closed


def test_then_one_goes_through_and_decides(breaker: Breaker, clock: Clock) -> None:
    breaker.failed()
    clock.now_s = 2 * FIRST_PAUSE_S
    breaker.tried()
    assert not breaker.lets_through
    breaker.succeeded()

    assert breaker.is_closed


def test_each_failure_in_a_row_makes_the_pause_longer_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    pauses = []
    for _ in range(12):
        began = clock.now_s
        breaker.tried()
        breaker.failed()
        while not breaker.lets_through:
            clock.now_s += 0.1
        pauses.append(clock.now_s - began)

    assert pauses[1] > 1.3 * pauses[0]
    assert max(pauses) < 1.3 * LONGEST_PAUSE_S
    breaker.succeeded()
    assert breaker.is_closed
