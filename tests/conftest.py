"""Fixtures for all tests: one real Redis for the session, an empty database of it for each test."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: a busy machine slows two threads most

from deploy.ports import free_port
from shared.ledger import Ledger
from shared.settings import Settings
from tests.support.processes import running_redis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a private server that lives as long as the session."""
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


_databases = itertools.cycle(range(1, 15))
_OF_MODULES = 15


def _emptied(redis_server: str, database: int) -> str:
    url = redis_server.removesuffix("/0") + f"/{database}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """An empty database of the private server."""
    return _emptied(redis_server, next(_databases))


@pytest.fixture(scope="module")
def module_redis_url(redis_server: str) -> str:
    """One for all tests of a module, which no test has besides."""
    return _emptied(redis_server, _OF_MODULES)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        redis_url=redis_url,
        data_dir=tmp_path / "data",
        port=free_port(),
        api_key="secret-of-the-tests",
        allow_private_hosts=("127.0.0.1",),
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[Ledger]:
    store = Ledger(settings.redis_url)
    yield store
    store.close()
