"""Where models are loaded from, as it is kept: nothing secret in an address is seen."""

from urllib.parse import urlsplit, urlunsplit

from shared.jobs import ModelSource, Origin
from shared.sealing import Sealer


def url_source(url: str, sealer: Sealer) -> ModelSource:
    """A query may hold a token, so it is sealed. Raises `BadRequest` if there is no key to seal with."""
    parts = urlsplit(url)
    shown = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return ModelSource(origin=Origin.URL, shown=shown, sealed=sealer.seal(url) if parts.query else None)
