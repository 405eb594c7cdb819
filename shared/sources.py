"""Where models are loaded from, as it is kept: nothing secret in an address is seen."""

from collections.abc import Collection
from urllib.parse import urlsplit, urlunsplit

from shared.jobs import ModelSource, Origin
from shared.outbound import require_url
from shared.sealing import Sealer


def url_source(url: str, sealer: Sealer, allowed_private_hosts: Collection[str]) -> ModelSource:
    """A query may hold a token, so it is sealed. Raises `BadRequest` for a URL that would not be asked, and
    if there is no key to seal with."""
    require_url("url", url, allowed_private_hosts)
    parts = urlsplit(url)
    shown = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return ModelSource(origin=Origin.URL, shown=shown, sealed=sealer.seal(url) if parts.query else None)
