"""Where Redis is: one server, or a group of which Sentinels know the master.

`redis://`, `rediss://` and `unix://` as redis-py reads them, or
`redis+sentinel://user:password@host-1:26379,host-2:26379/MASTER/0?sentinel_password=...`.
"""

from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.sentinel import Sentinel, SentinelConnectionPool

from shared.errors import Misconfigured

SCHEME = "redis+sentinel"
PASSWORD_OPTION = "sentinel_password"  # noqa: S105 - its name
SENTINEL_PORT = 26379
SENTINEL_TIMEOUT_S = 2.0
"""One that does not answer is passed over for the next."""
LOOKS_LIKE = f"a Sentinel URL looks like {SCHEME}://:password@host-1:26379,host-2:26379/MASTER/0"


class _BlockingSentinelPool(AsyncSentinelPool, BlockingConnectionPool):
    """Connections to the master, of which there are so many at most; further calls wait for a free one."""


@dataclass(frozen=True)
class Sentinels:
    """A group: who knows the master, what it is called, and how to be let in."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    db: int
    username: str | None
    password: str | None
    sentinel_password: str | None

    @property
    def server_options(self) -> dict[str, Any]:
        return {"db": self.db, "username": self.username, "password": self.password}

    @property
    def sentinel_options(self) -> dict[str, Any]:
        timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), SENTINEL_TIMEOUT_S)
        return {**timeouts, "password": self.sentinel_password}


def sentinels_of(url: str) -> Sentinels | None:
    """None for the URL of one server. Raises `Misconfigured`."""
    scheme = url.partition(":")[0]
    if not scheme.endswith("sentinel"):
        return None
    try:
        parts = urlsplit(url)
        if scheme != SCHEME:
            raise ValueError("another scheme")
        access, _, hosts = parts.netloc.rpartition("@")
        username, _, password = access.partition(":")
        master, _, db = parts.path.strip("/").partition("/")
        return Sentinels(
            hosts=tuple(_host(each) for each in hosts.split(",")),
            master=_required(unquote(master)),
            db=int(db or "0"),
            username=unquote(username) or None,
            password=unquote(password) or None,
            sentinel_password=_option(parts.query),
        )
    except ValueError:
        raise Misconfigured(f"The URL of Redis can't be used: {LOOKS_LIKE}") from None


def connected(url: str, **options: Any) -> redis.Redis:
    """A client for threads. Raises `Misconfigured`, or `ValueError` for no URL at all."""
    group = sentinels_of(url)
    if group is None:
        return redis.Redis.from_url(url, **options)
    manager = Sentinel(group.hosts, sentinel_kwargs=group.sentinel_options)  # type: ignore[no-untyped-call]
    found = manager.master_for(group.master, **group.server_options, **options)  # type: ignore[no-untyped-call]
    return cast(redis.Redis, found)


def connected_async(url: str, *, most_connections: int, wait_s: float, **options: Any) -> redis.asyncio.Redis:
    """A client for an event loop. When all connections are busy calls wait for `wait_s`."""
    pool_options = {"max_connections": most_connections, "timeout": wait_s, **options}
    group = sentinels_of(url)
    if group is None:
        return redis.asyncio.Redis.from_pool(BlockingConnectionPool.from_url(url, **pool_options))
    manager = AsyncSentinel(group.hosts, sentinel_kwargs=group.sentinel_options)  # type: ignore[no-untyped-call]
    options = {**group.server_options, **pool_options}
    pool = _BlockingSentinelPool(group.master, manager, **options)  # type: ignore[no-untyped-call]
    return redis.asyncio.Redis.from_pool(pool)


def close(client: redis.Redis) -> None:
    """Its connections, and those to the Sentinels."""
    client.close()
    if isinstance(client.connection_pool, SentinelConnectionPool):
        client.connection_pool.disconnect()
        client.connection_pool.sentinel_manager.close()


async def close_async(client: redis.asyncio.Redis) -> None:
    """Its connections, and those to the Sentinels."""
    await client.aclose()
    if isinstance(client.connection_pool, AsyncSentinelPool):
        await client.connection_pool.disconnect()
        await client.connection_pool.sentinel_manager.aclose()


def broker_of(url: str) -> tuple[str, dict[str, Any]]:
    """The same for Celery: its broker's URL, and options of its transport."""
    group = sentinels_of(url)
    if group is None:
        return url, {}
    access = f"{quote(group.username or '', safe='')}:{quote(group.password or '', safe='')}@"
    hosts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in group.hosts]
    urls = [f"sentinel://{access}{host}/{group.db}" for host in hosts]
    return ";".join(urls), {"master_name": group.master, "sentinel_kwargs": group.sentinel_options}


def _host(word: str) -> tuple[str, int]:
    parts = urlsplit(f"//{word}")
    return _required(parts.hostname), parts.port or SENTINEL_PORT


def _option(query: str) -> str | None:
    """What is no option of ours must not be believed to hold."""
    if not query:
        return None
    name, _, value = query.partition("=")
    if name != PASSWORD_OPTION or "&" in value:
        raise ValueError("another option")
    return unquote(value)


def _required(word: str | None) -> str:
    if not word:
        raise ValueError("missing")
    return word
