"""A gateway to be hurt: one for all tests that leave it as they found it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from deploy.ports import free_port
from shared.settings import Settings
from tests.hostile.target import ADMIN, EXPIRED, STALL_S, USER, Target, running_target
from tests.support.jobs import make_key


@pytest.fixture(scope="session")
def target(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """It answers at once, and has little patience."""
    folder = tmp_path_factory.mktemp("hostile")
    over = make_key(EXPIRED, expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    entries = [json.loads(key.model_dump_json()) for key in (make_key(USER), over)]
    (folder / "keys.json").write_text(json.dumps(entries))
    settings = Settings(
        redis_url=redis_server,  # its database 0, which no other test uses
        data_dir=folder / "data",
        port=free_port(),
        api_key=ADMIN,
        api_keys_file=folder / "keys.json",
        secret_key="a secret of the tests",
        sync_wait_s=0.0,
        request_stall_s=STALL_S,
    )
    with running_target(settings, folder / "gateway.log") as target:
        yield target
