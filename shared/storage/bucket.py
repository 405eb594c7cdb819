"""Speaks S3 by boto3, with boto3's own errors. Knows keys, not what they are for (see s3.py)."""

import base64
import hashlib
import io
from collections.abc import Collection, Iterator
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from boto3.s3.transfer import TransferConfig
from boto3.session import Session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from botocore.session import Session as BotocoreSession

from shared.errors import RefusedAddress
from shared.storage.guarded import GuardedSession
from shared.storage.target import S3Target

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

S3_ERRORS = (BotoCoreError, ClientError, ResponseParserError, RefusedAddress)
PART_BYTES = 8 * 1024 * 1024
LONGEST_LINK_S = 7 * 24 * 3600
"""No signature of S3 lives longer."""
_TRANSFER = TransferConfig(
    multipart_threshold=PART_BYTES,
    multipart_chunksize=PART_BYTES,
    use_threads=False,
    preferred_transfer_client="classic",
)
_ACL_REFUSED = {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_IMPLEMENTED}
_NO_ACLS = {"AccessControlListNotSupported", "NotImplemented"}


class Patience(NamedTuple):
    """How long S3 is waited for."""

    connect_s: float
    read_s: float
    attempts: int


DURING_A_JOB = Patience(connect_s=3, read_s=4, attempts=2)
"""About ten seconds in all, because the job waits."""
IN_BACKGROUND = Patience(connect_s=5, read_s=60, attempts=4)
"""Enough for an S3 that is slow but alive."""


class Bucket:
    """Safe to share between threads; keeps its connections until it is closed. All raises `S3_ERRORS`."""

    def __init__(self, target: S3Target, patience: Patience, allowed_private_hosts: Collection[str]) -> None:
        self._name = target.bucket
        core = BotocoreSession()
        self._connections = GuardedSession(
            allowed_private_hosts,
            verify=core.get_config_variable("ca_bundle") or True,
            timeout=(patience.connect_s, patience.read_s),
        )
        self._client = _client(core, target, patience)
        send = partial(_send, self._connections)
        self._client.meta.events.register("before-send.s3", send)  # type: ignore[arg-type] # it may answer
        self.takes_acls = bool(target.public_url)
        """Whether objects are made public one by one; no longer once the bucket has refused that for good."""

    def put(self, key: str, content: bytes, headers: dict[str, str]) -> bool:
        """Store an object; tells whether it was made public by an ACL."""
        if self.takes_acls:
            try:
                self._upload(key, content, headers | {"ACL": "public-read"})
                return True
            except ClientError as exc:
                if exc.response["ResponseMetadata"]["HTTPStatusCode"] not in _ACL_REFUSED:
                    raise
                # Buckets whose ACLs are switched off say so; those that block public ones, and credentials
                # that may set none, say "access denied", which may be over soon and is not remembered.
                self.takes_acls = exc.response["Error"]["Code"] not in _NO_ACLS
        self._upload(key, content, headers)
        return False

    def get(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._name, Key=key)["Body"].read()

    def delete(self, keys: list[str]) -> list[str]:
        """The codes of those that were not deleted; 1000 keys at most."""
        answer = self._client.delete_objects(
            Bucket=self._name, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
        )
        return [refused.get("Code", "NotDeleted") for refused in answer.get("Errors", ())]

    def listed(self, prefix: str) -> Iterator[list[tuple[str, float]]]:
        """Pages of keys, 1000 at most in each, and when they were written (Unix seconds)."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix):
            yield [(found["Key"], found["LastModified"].timestamp()) for found in page.get("Contents", ())]

    def link(self, key: str, seconds: float, *, head: bool) -> str:
        """A URL that anyone can read the object by until it ends, with GET or with HEAD: each is signed."""
        return self._client.generate_presigned_url(
            "head_object" if head else "get_object",
            Params={"Bucket": self._name, "Key": key},
            ExpiresIn=int(min(seconds, LONGEST_LINK_S)),
        )

    def close(self) -> None:
        self._client.close()
        self._connections.close()

    def _upload(self, key: str, content: bytes, headers: dict[str, str]) -> None:
        self._client.upload_fileobj(io.BytesIO(content), self._name, key, ExtraArgs=headers, Config=_TRANSFER)


def _send(connections: GuardedSession, request: AWSPreparedRequest, **_: object) -> AWSResponse:
    """What botocore takes for the answer, instead of asking by itself."""
    return connections.send(request)


def _client(core: BotocoreSession, target: S3Target, patience: Patience) -> "S3Client":
    # A session of its own: boto3's default one is not safe to share between threads.
    session = Session(
        botocore_session=core,
        aws_access_key_id=target.access_key_id.get_secret_value(),
        aws_secret_access_key=target.secret_access_key.get_secret_value(),
        region_name=target.region_name,
    )
    client = session.client(
        "s3",
        endpoint_url=target.endpoint_url,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if target.path_style else "virtual"},
            retries={"mode": "standard", "total_max_attempts": patience.attempts},
            # the checksums that newer clients add are refused by many services that are not Amazon's
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    client.meta.events.register("before-parameter-build.s3", _stay_in_region)
    client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
    return client


def _stay_in_region(context: dict[str, Any], **_: object) -> None:
    """Signed links need the right region, so a wrong one must be told and not be mended for uploads alone."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _add_md5(params: dict[str, Any], **_: object) -> None:
    """The one checksum that every service takes for this call, which needs one."""
    for header in [name for name in params["headers"] if name.lower().startswith("x-amz-checksum-")]:
        del params["headers"][header]
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
