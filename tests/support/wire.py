"""What the gateway adds to a request's body to make it a job, for tests without a gateway."""

import uuid
from collections.abc import Mapping
from typing import Any

from api.wire.requests import Here, Terms
from shared.jobs import Dialect, InputPicture, Role
from shared.settings import Settings
from tests.support.models import snapshot_of, split


def here(dialect: Dialect = Dialect.ENTERPRISE, **values: Any) -> Here:
    """`values`: settings, and tables of models (tests/support/models.py)."""
    tables, settings = split(values)
    return Here(Settings(**settings), snapshot_of(**tables), dialect)


def terms(
    dialect: Dialect = Dialect.ENTERPRISE,
    inputs: Mapping[Role, InputPicture] | None = None,
    **values: Any,
) -> Terms:
    return Terms(here(dialect, **values), "http://printworks.test", str(uuid.uuid4()), inputs or {})
