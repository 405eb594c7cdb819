"""Which Redis servers the ledger may be kept in."""

from typing import Any

import pytest

from shared.ledger.soundness import flaws

SOUND = {"redis_version": "7.2.4", "maxmemory": 0, "maxmemory_policy": "noeviction", "aof_enabled": 1}
EVICTING = {"maxmemory": 1 << 30, "maxmemory_policy": "allkeys-lru"}


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14 is too old: use 7.0 or newer, or Valkey."),
        (
            {"maxmemory": 1 << 30, "maxmemory_policy": "allkeys-lru"},
            "set its maxmemory-policy to noeviction.",
        ),
        ({"aof_enabled": 0}, "set its appendonly to yes."),
    ],
    ids=["too old", "evicts", "forgets"],
)
def test_a_server_that_may_lose_jobs_is_told_of(told: dict[str, Any], sentence: str) -> None:
    (flaw,) = flaws(SOUND | told)

    assert flaw.endswith(sentence)


@pytest.mark.parametrize(
    "told",
    [{}, {"maxmemory": 1 << 30}, {"maxmemory_policy": "allkeys-lru"}, {"redis_version": "10.0.0"}],
    ids=["as make run starts it", "bounded", "a policy without a bound", "a later version"],
)
def test_a_sound_server_is_not(told: dict[str, Any]) -> None:
    assert not list(flaws(SOUND | told))
