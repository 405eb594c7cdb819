"""What the gateway adds to a request's body to make it a job, for tests without a gateway."""

import uuid
from collections.abc import Mapping
from typing import Any

from api.wire.requests import Order
from shared.jobs import Dialect, InputPicture, Role
from shared.settings import Settings


def an_order(
    dialect: Dialect = Dialect.ENTERPRISE,
    inputs: Mapping[Role, InputPicture] | None = None,
    **settings: Any,
) -> Order:
    return Order(Settings(**settings), "http://printworks.test", str(uuid.uuid4()), dialect, inputs or {})
