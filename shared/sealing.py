"""Seals what must not lie anywhere in clear: S3 credentials, tokens in models' URLs, webhooks' URLs."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.errors import BadRequest, Misconfigured
from shared.settings import Settings

CANNOT_SEAL = "This server can't keep secrets yet: ask the operator to set PRINTWORKS_SECRET_KEY."


class Sealer:
    """Seals with the first of the operator's secret keys and opens with any: a key can be replaced."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.secret_key.get_secret_value() if settings.secret_key else ""
        keys = [part.strip() for part in secret.split(",") if part.strip()]
        self._fernet = MultiFernet([Fernet(_derived(key)) for key in keys]) if keys else None

    @property
    def has_key(self) -> bool:
        return self._fernet is not None

    def seal(self, text: str) -> str:
        """Raises `BadRequest` if the operator has set no key."""
        if self._fernet is None:
            raise BadRequest(CANNOT_SEAL)
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, token: str) -> str:
        """Raises `Misconfigured` if it was sealed with a key that is not here."""
        try:
            if self._fernet is None:
                raise Misconfigured(CANNOT_SEAL)
            return self._fernet.decrypt(token).decode()
        except InvalidToken:
            raise Misconfigured(
                "A stored secret can't be opened: PRINTWORKS_SECRET_KEY is not the key that sealed it. Put "
                "the old key behind the new one, separated by a comma, or send the secret again."
            ) from None


def _derived(key: str) -> bytes:
    """Any long secret will do as a key."""
    return base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())
