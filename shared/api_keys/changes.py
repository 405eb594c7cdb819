"""What can be done to a list of entries: add, rotate, revoke. Knows nothing of files nor of words."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr, ValidationError

from shared.api_keys.keys import ApiKey, digest, what_is_wrong
from shared.errors import BadRequest, InvalidKey

LONGEST_LIFE = timedelta(days=99_999)
_OF_ONE_KEY = {"sha256", "created_at", "expires_at"}


@dataclass(frozen=True)
class NewKey:
    """A key that was made just now; nobody else has its secret."""

    secret: SecretStr
    entry: ApiKey


def add(keys: list[ApiKey], fields: Mapping[str, object], now: datetime, life: timedelta | None) -> NewKey:
    """Raises `BadRequest` if the fields are not those of an entry."""
    secret = secrets.token_urlsafe(32)
    times = {"created_at": now, "expires_at": now + life if life else None}
    try:
        entry = ApiKey.model_validate({**fields, **times, "sha256": digest(secret)})
    except ValidationError as exc:
        raise BadRequest(f"{what_is_wrong(exc)}.") from None
    keys.append(entry)
    return NewKey(SecretStr(secret), entry)


def rotate(keys: list[ApiKey], which: str, now: datetime, grace: timedelta) -> tuple[NewKey, list[ApiKey]]:
    """A new key in place of those that `which`, an id or a tenant, names; and they, ending after the grace.

    It is like them, and lives as long as the newest of them was to live. Raises `InvalidKey` if there are
    none, `BadRequest` if they differ.
    """
    named = [key for key in keys if which in (key.key_id, key.tenant)]
    old = [key for key in named if not key.is_expired(now)] or named
    if not old:
        raise _unknown()
    if any(_properties(key) != _properties(old[0]) for key in old):
        ids = ", ".join(key.key_id for key in old)
        raise BadRequest(f"This tenant has keys that differ: rotate one by its id, of {ids}.")
    ending = [_ending_by(now + grace, key) for key in old]
    keys[:] = [ending[old.index(key)] if key in old else key for key in keys]
    newest = old[-1]  # new ones are appended
    return add(keys, newest.model_dump(), now, _life(newest, now)), ending


def revoke(keys: list[ApiKey], key_id: str) -> ApiKey:
    """Raises `InvalidKey` if there is none with this id."""
    found = next((key for key in keys if key.key_id == key_id), None)
    if found is None:
        raise _unknown()
    keys.remove(found)
    return found


def _properties(key: ApiKey) -> dict[str, object]:
    return key.model_dump(exclude=_OF_ONE_KEY)


def _ending_by(moment: datetime, key: ApiKey) -> ApiKey:
    return key if key.is_expired(moment) else key.model_copy(update={"expires_at": moment})


def _life(key: ApiKey, now: datetime) -> timedelta | None:
    """What the key was given when it was made; what is left if nobody knows when that was."""
    return min(LONGEST_LIFE, key.expires_at - (key.created_at or now)) if key.expires_at else None


def _unknown() -> InvalidKey:
    return InvalidKey("There is no such key: `list` shows their ids and tenants.")
