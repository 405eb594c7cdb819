"""A gateway to be hurt, and one whose keys, folders and log a stranger would like to have."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.ports import free_port
from shared.api_keys import ApiKey, Role, digest
from shared.ledger import Ledger
from shared.settings import Settings
from tests.hostile import target as hurt
from tests.support.climbs import MARK
from tests.support.jobs import make_key
from tests.support.processes import running_gateway, running_redis
from tests.support.raw import RawAnswer, posted

ADMIN, USER, OTHER, EXPIRED = "an-admins-key", "a-users-key", "another-tenants-key", "a-key-of-yesterday"
ROOT = "/api/v1/enterprise"


@dataclass(frozen=True)
class Door:
    """A gateway as strangers meet it. No worker follows: what is accepted waits."""

    url: str
    settings: Settings
    folder: Path
    log: Path
    store: Ledger

    @property
    def secret(self) -> Path:
        """A file beside the data folder that nobody may read."""
        return self.folder / "secret.txt"

    def post(self, path: str, key: object = ADMIN, **fields: Any) -> RawAnswer:
        return posted(self.url, f"{ROOT}/{path}", {"key": key, **fields})


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    (folder / "secret.txt").write_text(MARK)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    keys = (
        ApiKey(tenant="boss", sha256=digest(ADMIN), role=Role.ADMIN),
        ApiKey(tenant="user", sha256=digest(USER)),
        ApiKey(tenant="other", sha256=digest(OTHER)),
        ApiKey(tenant="user", sha256=digest(EXPIRED), role=Role.ADMIN, expires_at=yesterday),
    )
    (folder / "keys.json").write_text(json.dumps([key.model_dump(mode="json") for key in keys]))
    (folder / "redis").mkdir()
    with running_redis(folder / "redis") as redis_url:
        settings = Settings(
            redis_url=redis_url,
            data_dir=folder / "data",
            port=free_port(),
            api_keys_file=folder / "keys.json",
            secret_key="a secret of the tests",
            sync_wait_s=0.0,
            input_timeout_s=5.0,
        )
        store = Ledger(redis_url)
        with running_gateway(settings, folder / "gateway.log") as url:
            yield Door(url, settings, folder, folder / "gateway.log", store)
        store.close()


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hurt.Target]:
    """It answers at once, and has little patience."""
    folder = tmp_path_factory.mktemp("hostile")
    over = make_key(hurt.EXPIRED, expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    entries = [json.loads(key.model_dump_json()) for key in (make_key(hurt.USER), over)]
    (folder / "keys.json").write_text(json.dumps(entries))
    with running_redis(folder) as redis_url:
        settings = Settings(
            redis_url=redis_url,
            data_dir=folder / "data",
            port=free_port(),
            api_key=hurt.ADMIN,
            api_keys_file=folder / "keys.json",
            secret_key="a secret of the tests",
            sync_wait_s=0.0,
            request_stall_s=hurt.STALL_S,
        )
        with hurt.running_target(settings, folder / "gateway.log") as target:
            yield target
