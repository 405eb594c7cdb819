"""How many requests a key may send in a minute, to all gateways together."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from deploy.ports import free_port
from shared import ledger
from shared.errors import TooManyRequests
from shared.ledger import Ledger
from shared.settings import Settings
from tests.support.jobs import make_key
from tests.support.processes import running_gateway
from tests.support.waiting import wait_until

ROOT = "/api/v1/enterprise"
LIMIT, BURST = 60, 10
"""One a second, and ten seconds' worth at once."""


@pytest.fixture
def gateways(settings: Settings, tmp_path: Path) -> Iterator[list[httpx.Client]]:
    """Two on one ledger; keys are called as their tenants are."""
    keys = [make_key("limited", max_requests_per_minute=LIMIT), make_key("free")]
    file = tmp_path / "keys.json"
    file.write_text(json.dumps([json.loads(key.model_dump_json()) for key in keys]))
    with contextlib.ExitStack() as stack:
        clients = []
        for name in ("one", "two"):
            changes = {"port": free_port(), "api_keys_file": file, "sync_wait_s": 0.0}
            own = settings.model_copy(update=changes)
            url = stack.enter_context(running_gateway(own, tmp_path / f"{name}.log"))
            clients.append(stack.enter_context(httpx.Client(base_url=url)))
        yield clients


def polled(client: httpx.Client, key: str) -> httpx.Response:
    return client.get(f"{ROOT}/fetch/1", headers={"key": key})


def taken(store: Ledger, times: int, **changes: int) -> int:
    """How many of so many requests at once are taken."""
    key = make_key("limited", **changes)
    assert key.max_requests_per_minute is not None
    count = 0
    for _ in range(times):
        with contextlib.suppress(TooManyRequests):
            store.run(ledger.count_request(key, key.max_requests_per_minute))
            count += 1
    return count


def test_two_gateways_share_the_limit_of_a_key_and_polling_counts(gateways: list[httpx.Client]) -> None:
    answers = [polled(gateways[number % 2], "limited") for number in range(2 * BURST)]

    refused = [each for each in answers if each.status_code == 429]
    assert BURST - 2 <= len(refused) <= BURST  # a second or two may have gone by
    assert {each.json()["code"] for each in answers if each not in refused} == {"not_found"}
    assert polled(gateways[0], "free").json()["code"] == "not_found"


def test_the_refusal_says_when_to_come_back(gateways: list[httpx.Client]) -> None:
    refused = wait_until(lambda: next(filter(is_refusal, [polled(gateways[0], "limited")]), None))

    sentence = f"Rate limit exceeded. Maximum {LIMIT} requests per minute allowed."
    assert refused.json() == {
        "status": "error",
        "message": sentence,
        "messege": sentence,
        "code": "rate_limited",
        "retry_after": 1,
    }
    assert refused.headers["retry-after"] == "1"
    assert 0 <= int(refused.headers["x-ratelimit-reset"]) - time.time() <= 3


def is_refusal(answer: httpx.Response) -> bool:
    return answer.status_code == 429


def test_after_the_time_that_was_told_the_key_is_taken_again(gateways: list[httpx.Client]) -> None:
    wait_until(lambda: is_refusal(polled(gateways[0], "limited")))
    began = time.monotonic()

    wait_until(lambda: not is_refusal(polled(gateways[1], "limited")), within_s=5)

    assert time.monotonic() - began <= 1.5


def test_unknown_keys_are_not_counted_and_no_key_waits_for_the_ledger_without_a_limit(
    gateways: list[httpx.Client], store: Ledger, redis_url: str
) -> None:
    for key in ("nobody", "free"):
        polled(gateways[0], key)

    assert ledger_keys(redis_url) == []


def ledger_keys(redis_url: str) -> list[str]:

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        return sorted(client.scan_iter("pw:rate:*"))


@pytest.mark.parametrize(("limit", "at_once"), [(1, 1), (5, 1), (12, 2), (600, 100)])
def test_ten_seconds_worth_may_come_at_once_but_never_less_than_one(
    store: Ledger, limit: int, at_once: int
) -> None:
    assert at_once <= taken(store, at_once + 1, max_requests_per_minute=limit) <= at_once + 1


def test_each_key_has_a_limit_of_its_own(store: Ledger) -> None:
    first = make_key("tenant", max_requests_per_minute=1)
    others = [first.model_copy(update=change) for change in ({"sha256": "f" * 64}, {"tenant": "another"})]

    store.run(ledger.count_request(first, 1))

    for other in others:
        store.run(ledger.count_request(other, 1))
    with pytest.raises(TooManyRequests):
        store.run(ledger.count_request(first, 1))


def test_a_limit_that_was_raised_counts_at_once(store: Ledger) -> None:
    assert taken(store, 2, max_requests_per_minute=1) == 1

    wait_until(lambda: taken(store, 1, max_requests_per_minute=6000), within_s=5)


def test_what_is_kept_about_a_key_goes_by_itself(store: Ledger, redis_url: str) -> None:
    taken(store, 1, max_requests_per_minute=600)

    wait_until(lambda: ledger_keys(redis_url) == [], within_s=5)
