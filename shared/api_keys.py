"""API keys: who a request comes from. Only digests are kept; a key is shown once, when it is made.

`python -m shared.api_keys NAME [--admin]` prints a new key and the entry for `PRINTWORKS_API_KEYS_FILE`.
"""

import argparse
import hashlib
import hmac
import secrets
import sys
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.errors import InvalidKey, Misconfigured
from shared.settings import Settings


class ApiKey(BaseModel):
    """A tenant's key as it is stored: its digest, and the tenant's share of the cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Keys are 32 random bytes, so a plain digest can't be guessed back."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Share of the GPUs relative to other tenants while all of them have work waiting."""
    admin: bool = False
    """May manage the server: restart it, clear its queue."""
    priority: Annotated[int, Field(ge=0, le=10)] = 0
    """Head start of this tenant's jobs; bounded, so that nobody starves."""


class KeyRing:
    """The keys that this installation accepts."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def from_settings(cls, settings: Settings) -> "KeyRing":
        """Raises `Misconfigured` if the keys' file can't be read."""
        keys = []
        if settings.api_key is not None:
            keys.append(
                ApiKey(tenant="default", sha256=digest(settings.api_key.get_secret_value()), admin=True)
            )
        if settings.api_keys_file is not None:
            try:
                keys += TypeAdapter(list[ApiKey]).validate_json(settings.api_keys_file.read_bytes())
            except OSError as exc:
                raise Misconfigured(f"PRINTWORKS_API_KEYS_FILE can't be used: {exc}") from exc
            except ValidationError as exc:
                # its own text would repeat the input, which may be a key in the digest's place
                wrong = exc.errors(include_url=False, include_context=False, include_input=False)[0]
                where = ".".join(map(str, wrong["loc"]))
                raise Misconfigured(
                    f"PRINTWORKS_API_KEYS_FILE can't be used: {where}: {wrong['msg']}"
                ) from None
        return cls(keys)

    def identify(self, presented: str) -> ApiKey:
        """The key's entry; raises `InvalidKey`. Takes the same time whichever entry matches."""
        wanted = digest(presented)
        found = [key for key in self._keys if hmac.compare_digest(key.sha256, wanted)]
        if not found:
            raise InvalidKey("Invalid Api Key")
        return found[0]


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m shared.api_keys", description="Make an API key.")
    parser.add_argument("tenant", metavar="NAME", help="whose key it is")
    parser.add_argument("--admin", action="store_true", help="may manage the server")
    arguments = parser.parse_args()
    key = secrets.token_urlsafe(32)
    entry = ApiKey(tenant=arguments.tenant, sha256=digest(key), admin=arguments.admin)
    sys.stderr.write(f"the key, shown only now: {key}\n")
    sys.stdout.write(f"{entry.model_dump_json()}\n")


if __name__ == "__main__":
    main()
