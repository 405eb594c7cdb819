"""API keys: who a request comes from, and what he may do. Only digests are kept; a key is shown once, when it
is made.

`python -m shared.api_keys` makes, replaces and revokes the keys of `PRINTWORKS_API_KEYS_FILE`.
"""

from shared.api_keys.keys import ApiKey, Role, digest
from shared.api_keys.ring import KeyRing

__all__ = ["ApiKey", "KeyRing", "Role", "digest"]
