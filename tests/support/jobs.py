"""Job specs and keys for tests that speak to the ledger directly."""

import hashlib
import uuid
from typing import Any

from shared.api_keys import ApiKey
from shared.jobs import PictureSpec
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
