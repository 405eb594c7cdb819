"""Takes S3 endpoints apart: the wire's `endpoint_url` usually holds the bucket, in its host or its path."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url

from shared.errors import BadRequest

_AWS = (".amazonaws.com", ".amazonaws.com.cn")
_SERVICES = (
    r"s3[.-].+",  # AWS, and most that are compatible
    r"[a-z0-9-]+\.digitaloceanspaces\.com",
    r"[0-9a-f]{32}(?:\.[a-z]+)?\.r2\.cloudflarestorage\.com",
    r"storage\.googleapis\.com",
)
_BUCKET_IN_HOST = re.compile(rf"(?P<bucket>.+?)\.(?P<service>{'|'.join(_SERVICES)})")
_BUCKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){1,61}[A-Za-z0-9]")
WANTED = (
    "endpoint_url must hold the bucket, as https://BUCKET.s3.REGION.amazonaws.com or https://HOST/BUCKET do; "
    "or send the bucket's name as `bucket`"
)
NO_HOST = (
    "endpoint_url must name its host by letters, digits, dots and hyphens, or by its address; one in another "
    "script in its xn-- form"
)


class Endpoint(NamedTuple):
    """Where a bucket is."""

    url: str
    """Scheme, host and port of the service, without the bucket."""
    bucket: str
    path_style: bool
    """The bucket is named in the path, not in the host."""

    @property
    def host(self) -> str:
        """That requests go to."""
        service = urlsplit(self.url).hostname or ""
        return service if self.path_style else f"{self.bucket}.{service}"


def endpoint_of(endpoint_url: str, bucket: str = "") -> Endpoint:
    """From a URL that is one (`check_url`) and the bucket, if it was sent. Raises `BadRequest`."""
    parts = urlsplit(endpoint_url)
    in_path = [segment for segment in parts.path.split("/") if segment]
    if parts.query or parts.fragment or len(in_path) > 1:
        raise BadRequest(f"{WANTED}; nothing else may follow")
    in_host = _BUCKET_IN_HOST.fullmatch(parts.netloc.lower())
    named = [name for name in (*in_path, bucket) if name]
    is_aws = (parts.hostname or "").endswith(_AWS)
    if in_host and (is_aws or not named):
        named.append(in_host["bucket"])
    if not named:
        raise BadRequest(WANTED)
    if len(set(named)) > 1:
        raise BadRequest(
            f"The bucket is named in more than one way: {', '.join(sorted(set(named)))}. {WANTED}"
        )
    if not _BUCKET.fullmatch(named[0]):
        raise BadRequest(f"{named[0][:63]!r} can't be the name of a bucket. {WANTED}")
    is_virtual = in_host is not None and in_host["bucket"] == named[0]
    service = in_host["service"] if in_host and is_virtual else parts.netloc
    # a name with dots in the host would not fit the service's TLS certificate
    path_style = "." in named[0] or not (is_virtual or is_aws)
    return Endpoint(_taken_by_boto(f"{parts.scheme}://{service}"), named[0], path_style)


def _taken_by_boto(url: str) -> str:
    """It takes fewer hosts than there are, and would refuse the others in words of its own."""
    if not is_valid_endpoint_url(url) and not is_valid_ipv6_endpoint_url(url):
        raise BadRequest(NO_HOST)
    return url
