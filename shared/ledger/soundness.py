"""What is wrong with a Redis that the ledger is to be kept in."""

from collections.abc import Iterator, Mapping

OLDEST = 7
"""Major version whose scripts can say what they do when memory is out; Valkey counts as 7."""


def flaws(told: Mapping[str, object]) -> Iterator[str]:
    """Sentences about a server that answers INFO like this."""
    version = str(told["redis_version"])
    if int(version.partition(".")[0]) < OLDEST:
        yield f"Redis {version} is too old: use {OLDEST}.0 or newer, or Valkey."
    if told["maxmemory"] and told["maxmemory_policy"] != "noeviction":
        yield "Redis may evict accepted jobs: set its maxmemory-policy to noeviction."
    if not told["aof_enabled"]:
        yield "Redis forgets accepted jobs when it is restarted: set its appendonly to yes."
