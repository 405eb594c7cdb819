"""What a receiver's answer means for a delivery."""

import email.utils
import time

import pytest

from shared.settings import Settings
from worker.dispatcher.verdict import judge

SCHEDULE = (0.0, 5.0, 300.0)


def verdict(status: int | None, attempts: int = 0, retry_after: str | None = None) -> tuple[str, float]:
    judged = judge(status, retry_after=retry_after, attempts=attempts, schedule_s=SCHEDULE)
    return judged.what, judged.retry_in_s


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert verdict(status) == ("delivered", 0.0)


@pytest.mark.parametrize("status", [None, 301, 302, 400, 404, 429, 500, 503])
def test_anything_else_is_tried_again_by_the_schedule_with_jitter(status: int | None) -> None:
    what, wait_s = verdict(status)

    assert what == "retry"
    assert 4.5 <= wait_s <= 5.5


def test_the_schedule_is_the_one_that_is_promised() -> None:
    hours = [hour * 3600.0 for hour in (2, 5, 10, 14, 20, 24)]

    assert Settings().webhook_schedule_s == (0.0, 5.0, 300.0, 1800.0, *hours)


def test_410_and_the_end_of_the_schedule_give_up() -> None:
    assert verdict(410) == ("dead", 0.0)
    assert verdict(500, attempts=2) == ("dead", 0.0)


def test_retry_after_is_honoured_in_both_forms() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)

    assert verdict(429, retry_after="40") == ("retry", 40.0)
    assert 55 <= verdict(503, retry_after=in_a_minute)[1] <= 61
    for unreadable in ("soon", "\N{SUPERSCRIPT TWO}", "-1", ""):
        assert 4.5 <= verdict(503, retry_after=unreadable)[1] <= 5.5
