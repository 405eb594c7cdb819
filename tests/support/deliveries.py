"""Webhooks for tests: jobs that have just ended, a gateway to ask about their deliveries, a dispatcher."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.ports import free_port
from shared import ledger
from shared.api_keys import ApiKey, Role, digest
from shared.jobs import JobState, Outcome
from shared.ledger import Ledger
from shared.sealing import Sealer
from shared.settings import Settings
from tests.support.jobs import accept, claim, make_key
from tests.support.processes import running_dispatcher, running_gateway, running_redis
from tests.support.waiting import wait_until

ROOT = "/api/v1/enterprise"
SIGNING_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = {tenant: f"the-key-of-{tenant}" for tenant in ("ann", "bob", "cid", "dan", "eve", "fay")}
ADMIN = "ann"

Said = dict[str, Any]


def end_job(
    store: Ledger,
    settings: Settings,
    state: JobState = JobState.SUCCEEDED,
    *,
    tenant: str = "tenant",
    **spec: Any,
) -> int:
    """A job that has just ended, its delivery in the outbox."""
    job_id = accept(store, settings, make_key(tenant), sealer=Sealer(settings), **spec)
    token = claim(store, settings).token
    reason = "" if state is JobState.SUCCEEDED else "Why."
    store.run(ledger.finish(job_id, token, state, Outcome(reason=reason)))
    return job_id


@dataclass(frozen=True)
class Owner:
    """A tenant that asks about its webhooks."""

    tenant: str
    url: str
    settings: Settings
    store: Ledger

    def end_job(self, webhook: str | None, **spec: Any) -> int:
        return end_job(self.store, self.settings, tenant=self.tenant, webhook=webhook, **spec)

    def post(self, path: str, **fields: Any) -> Said:
        body = {"key": KEYS[self.tenant]} | fields
        said: Said = httpx.post(f"{self.url}{ROOT}/{path}", json=body, timeout=30).json()
        return said

    def log(self, job_id: int) -> Said:
        return self.post(f"deliveries/{job_id}")

    def came_to(self, job_id: int, state: str, within_s: float = 15) -> Said:
        """The log, when the delivery has come to that state."""
        found: list[Said] = []

        def came() -> bool:
            found[:] = [self.log(job_id)]
            return bool(found[0]["delivery"] == state)

        try:
            wait_until(came, within_s, every_s=0.05)
        except TimeoutError as exc:
            raise TimeoutError(f"not {state}: {found}") from exc
        return found[0]

    def answers(self, job_id: int) -> list[str]:
        return [attempt["answer"] for attempt in self.log(job_id)["attempts"]]


@dataclass(frozen=True)
class Office:
    """A gateway, with or without a dispatcher."""

    url: str
    settings: Settings
    store: Ledger
    folder: Path

    def owner(self, tenant: str) -> Owner:
        return Owner(tenant, self.url, self.settings, self.store)

    @contextlib.contextmanager
    def dispatching(self, **changes: Any) -> Iterator[None]:
        settings = self.settings.model_copy(update=changes)
        with running_dispatcher(settings, self.folder / "dispatcher.log"):
            yield


@contextlib.contextmanager
def running_office(folder: Path, **changes: Any) -> Iterator[Office]:
    """With retries within moments instead of hours."""
    keys = [
        ApiKey(tenant=tenant, sha256=digest(key), role=Role.ADMIN if tenant == ADMIN else Role.USER)
        for tenant, key in KEYS.items()
    ]
    file = folder / "keys.json"
    file.write_text(json.dumps([key.model_dump(mode="json") for key in keys]))
    values: dict[str, Any] = {
        "data_dir": folder / "data",
        "port": free_port(),
        "api_keys_file": file,
        "secret_key": "a secret of the tests",
        "webhook_secret": SIGNING_SECRET,
        "webhook_schedule_s": (0.0, 0.1, 0.1),
        "webhook_timeout_s": 1.0,
        "sweep_s": 0.1,
        "allow_private_hosts": ("127.0.0.1",),
    }
    with running_redis(folder) as redis_url:
        settings = Settings(redis_url=redis_url, **(values | changes))
        store = Ledger(redis_url)
        with running_gateway(settings, folder / "gateway.log") as url:
            yield Office(url, settings, store, folder)
        store.close()
