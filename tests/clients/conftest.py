"""One pair of servers for all tests of clients."""

from collections.abc import Iterator

import pytest

from tests.support.clients import Servers, running_servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running_servers(tmp_path_factory.mktemp("clients")) as servers:
        yield servers
