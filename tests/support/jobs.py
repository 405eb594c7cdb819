"""Job specs and keys for tests that speak to the ledger directly."""

import hashlib
import uuid
from typing import Any

from shared.api_keys import ApiKey
from shared.jobs import PictureSpec


def make_spec(**changes: Any) -> PictureSpec:
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
    }
    return PictureSpec(**(values | changes))


def make_key(tenant: str = "tenant", **changes: Any) -> ApiKey:
    return ApiKey(tenant=tenant, sha256=hashlib.sha256(tenant.encode()).hexdigest(), **changes)
