"""Jobs and keys for tests that speak to the ledger directly."""

import hashlib
import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from shared import ledger
from shared.api_keys import ApiKey
from shared.jobs import LoadSpec, ModelSource, Origin, PictureSpec
from shared.ledger import Accepted, Claim, Ledger
from shared.ledger.calls import Call
from shared.registry import ModelKind
from shared.sealing import Sealer
from shared.settings import Settings
from shared.webhooks import webhook_to

HERE = ("127.0.0.1", "localhost")
KEYLESS = Sealer(Settings(secret_key=None))


def make_spec(**changes: Any) -> PictureSpec:
    """`webhook`: a URL, kept in clear if there is no `sealer` with a key."""
    webhook, sealer = changes.pop("webhook", None), changes.pop("sealer", KEYLESS)
    values: dict[str, Any] = {
        "model_id": "demo",
        "prompt": "a red circle",
        "width": 64,
        "height": 64,
        "samples": 1,
        "steps": 4,
        "guidance_scale": 7.5,
        "scheduler": "EulerDiscreteScheduler",
        "seed": 7,
        "file_prefix": str(uuid.uuid4()),
        "public_url": "http://printworks.test",
        "webhook": webhook_to(webhook, sealer, HERE),
    }
    return PictureSpec(**(values | changes))


def make_key(tenant: str = "tenant", **changes: Any) -> ApiKey:
    return ApiKey(tenant=tenant, sha256=hashlib.sha256(tenant.encode()).hexdigest(), **changes)


def accepting(settings: Settings, key: ApiKey | None = None, **spec: Any) -> Call[Accepted]:
    """The call that accepts a job; `spec` is what `make_spec` takes."""
    return ledger.accept(make_spec(**spec), key or make_key(), settings, idempotency_key=None, digest="")


def accept(store: Ledger, settings: Settings, key: ApiKey | None = None, **spec: Any) -> int:
    return store.run(accepting(settings, key, **spec)).job_id


def accept_load(store: Ledger, settings: Settings, model_id: str) -> int:
    """The load of a checkpoint from a hub."""
    spec = LoadSpec(
        model_id=model_id,
        file_prefix=f"load-{model_id}",
        public_url="http://printworks.test",
        model_kind=ModelKind.CHECKPOINT,
        source=ModelSource(origin=Origin.HUB, shown="owner/name"),
    )
    return store.run(ledger.accept(spec, make_key(), settings, idempotency_key=None, digest="")).job_id


def make_unreadable(client: redis.Redis, job_id: int) -> str:
    """As if a newer version had accepted it; tells what it was."""
    known = str(client.hget(f"pw:job:{job_id}", "spec"))
    client.hset(f"pw:job:{job_id}", "spec", json.dumps({**json.loads(known), "what_is_not_known_yet": 1}))
    return known


def claim(
    store: Ledger,
    settings: Settings,
    token: str = "t",
    worker: str = "worker",
    *,
    loaded: Sequence[str] = (),
    is_idle: bool = True,
) -> Claim:
    """Fails the test if nothing waits."""
    found = store.run(ledger.claim(worker, token, settings, loaded, is_idle=is_idle))
    assert found is not None
    return found


def claim_each(store: Ledger, settings: Settings) -> Iterator[Claim]:
    """Until nothing waits; the next one when it is asked for."""
    call = ledger.claim("worker", "t", settings, ())
    while found := store.run(call):
        yield found
