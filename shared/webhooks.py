"""Where a job's end is told, as it is kept: any part of the URL may be a secret, so all of it is sealed."""

import hashlib
from collections.abc import Collection
from urllib.parse import urlsplit

from shared.jobs import Webhook
from shared.outbound import require_url
from shared.sealing import Sealer


def webhook_to(url: str | None, sealer: Sealer, allowed_private_hosts: Collection[str]) -> Webhook | None:
    """None if there is no URL. Without a key to seal with it is kept as it is. Raises `BadRequest` for a URL
    that would not be called."""
    if not url:
        return None
    require_url("webhook", url, allowed_private_hosts)
    receiver = _receiver(url)
    if not sealer.has_key:
        return Webhook(receiver=receiver, url=url)
    return Webhook(receiver=receiver, sealed=sealer.seal(url))


def url_of(webhook: Webhook | None, sealer: Sealer) -> str:
    """Empty if there is none. Raises `Misconfigured` if it was sealed with a key that is not here."""
    if webhook is None:
        return ""
    return sealer.open(webhook.sealed) if webhook.sealed else webhook.url or ""


def _receiver(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return hashlib.sha256(f"{parts.hostname}:{port}".encode()).hexdigest()[:32]
