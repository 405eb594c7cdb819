"""What to change when a bucket can't be used: a sentence for each kind of failure.

Never in S3's own words, which may hold the id of the key.
"""

import re

from botocore.exceptions import ClientError, HTTPClientError, SSLError
from botocore.exceptions import ConnectionError as NoConnection

from shared.errors import RefusedAddress
from shared.storage.target import S3Target

_NO_TLS = "The TLS certificate of {endpoint} is not valid: send another endpoint_url."
_UNREACHABLE = "{endpoint} can't be reached from here: send another endpoint_url."
_PRIVATE = "endpoint_url must be a public address; {endpoint} has a private one."
_NOT_S3 = "What answers at {endpoint} does not speak S3: send another endpoint_url."
_NO_BUCKET = "There is no bucket {bucket!r} at {endpoint}: create it, or send another endpoint_url."
_CREDENTIALS = (
    "S3 does not know these credentials: send the right aws_access_key_id and aws_secret_access_key."
)
_REGION = "The bucket {bucket!r} is not in {region}: send its region_name."
_DENIED = (
    "These credentials may not {what} objects in the bucket {bucket!r}: allow them s3:PutObject and "
    "s3:GetObject there."
)
_BUSY = "S3 answers with errors at the moment: send this again later."
_CLOCK = "S3's clock and this server's differ too much: ask the operator to set the clock."
_OTHER = "S3 refused to {what} an object in the bucket {bucket!r}, with the code {code}."
_SENTENCES = {
    "NoSuchBucket": _NO_BUCKET,
    "RequestTimeTooSkewed": _CLOCK,
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"), _CREDENTIALS),
    **dict.fromkeys(("ExpiredToken", "Unauthorized", "InvalidSecurity", "401"), _CREDENTIALS),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"), _REGION),
    **dict.fromkeys(("PermanentRedirect", "TemporaryRedirect", "301", "307"), _REGION),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "403"), _DENIED),
    **dict.fromkeys(("InternalError", "ServiceUnavailable", "SlowDown"), _BUSY),
    **dict.fromkeys(("500", "502", "503", "504"), _BUSY),
}
_CODE = re.compile(r"[A-Za-z]{3,50}|\d{3}")
"""Else it is no S3 that speaks, or the code says more than it should."""


def code_of(exc: Exception) -> str:
    """S3's code, or the kind of error if S3 did not answer."""
    if not isinstance(exc, ClientError):
        return type(exc).__name__
    code = str(exc.response["Error"]["Code"])
    return code if _CODE.fullmatch(code) else "unknown"


def sentence_about(exc: Exception, what: str, target: S3Target) -> str:
    """`what` was tried: write or read."""
    code = code_of(exc)
    return _template(exc, code).format(
        endpoint=target.endpoint_url,
        bucket=target.bucket,
        region=target.region_name,
        what=what,
        code=code,
    )


def not_s3(target: S3Target) -> str:
    return _NOT_S3.format(endpoint=target.endpoint_url)


def _template(exc: Exception, code: str) -> str:
    if isinstance(exc, SSLError):
        return _NO_TLS
    if isinstance(exc, RefusedAddress):
        return _PRIVATE
    if isinstance(exc, (NoConnection, HTTPClientError)):
        return _UNREACHABLE
    if not isinstance(exc, ClientError) or code == "unknown" or code.isdigit():
        return _SENTENCES.get(code, _NOT_S3)  # without a code of S3's there is just a web server's answer
    return _SENTENCES.get(code, _OTHER)
