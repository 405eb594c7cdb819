"""A real S3 server: moto's, over HTTP, behind a gate that refuses as Amazon's does.

moto alone believes every signature and every signed link, grants every right and knows one region.
"""

import contextlib
import secrets
import ssl
import threading
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from deploy.ports import free_port
from shared.storage import S3Details, S3Target

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

REGION = "eu-north-1"
LOCAL = ("127.0.0.1",)
"""What must be allowed for the server to be reached."""
ALL_RIGHTS = frozenset({"PutObject", "PutObjectAcl", "GetObject", "DeleteObject", "ListBucket"})
DOCUMENTED_RIGHTS = ALL_RIGHTS - {"DeleteObject"}
"""Of the policy in the protocol's documentation."""


class S3Server:
    """A server with one bucket. Its data outlive `stop` and `start`, which keep the port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bucket = f"pictures-{uuid.uuid4().hex[:12]}"
        self.access_key_id = f"AKIA{secrets.token_hex(8).upper()}"
        self.secret_access_key = secrets.token_urlsafe(30)
        self.rights = ALL_RIGHTS
        self.takes_acls = True
        self.failing = ""
        """A code that every request is answered with: 503."""
        self.silence_s = 0.0
        """How long every answer is waited for."""
        self.tls: ssl.SSLContext | None = None
        """With which it is started; without it is plain HTTP."""
        self._over = threading.Event()
        self.actions: list[str] = []
        """What was asked for, in order."""
        self._moto = create_backend_app("s3")
        self._backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._bucket = self._backend.create_bucket(self.bucket, REGION)
        self._server: BaseWSGIServer | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._server is not None

    def start(self) -> None:
        self._over.clear()
        self._server = make_server(
            "127.0.0.1", self.port, self, threaded=True, request_handler=_Quiet, ssl_context=self.tls
        )
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Nothing listens on the port any more."""
        self._over.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def details(self, **changes: str) -> S3Details:
        """What a client sends to `update_s3` to use the bucket."""
        given = {
            "endpoint_url": f"{self.endpoint}/{self.bucket}",
            "region_name": REGION,
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key,
            "image_directory": "generations",
        }
        return S3Details.model_validate(given | changes)

    def target(self, **changes: str) -> S3Target:
        return S3Target.given(self.details(**changes), LOCAL)

    def put(self, key: str, content: bytes) -> None:
        """An object, as somebody else would store it."""
        self._backend.put_object(self.bucket, key, content)

    def contents(self) -> dict[str, bytes]:
        """Of all objects, by their keys."""
        found, *_ = self._backend.list_objects(self._bucket, None, None, None, 10_000)
        return {one.name: one.value for one in found}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request = Request(environ)
        actions = _actions(request)
        self.actions += actions
        self._over.wait(self.silence_s)
        code, status = self._refusal(request, actions)
        if code:
            request.get_data()  # else the client may see a broken connection and not the answer
            region = f"<Region>{REGION}</Region>" if code == "AuthorizationHeaderMalformed" else ""
            error = f"<Error><Code>{code}</Code><Message>{self.access_key_id}</Message>{region}</Error>"
            answer = Response(error, status, content_type="application/xml")
            return answer(environ, start_response)
        return self._moto(environ, start_response)

    def _refusal(self, request: Request, actions: list[str]) -> tuple[str, int]:
        if self.failing:
            return self.failing, 503
        signature = _Signature.of(request)
        if signature is None:
            return "", 0  # moto looks whether the object is public
        for code, status in (
            ("InvalidAccessKeyId" if signature.key_id != self.access_key_id else "", 403),
            ("AuthorizationHeaderMalformed" if signature.region != REGION else "", 400),
            ("" if signature.fits(request, self.secret_access_key) else "SignatureDoesNotMatch", 403),
            ("AccessDenied" if signature.is_over or not self.rights.issuperset(actions) else "", 403),
            (
                "AccessControlListNotSupported" if "PutObjectAcl" in actions and not self.takes_acls else "",
                400,
            ),
        ):
            if code:
                return code, status
        return "", 0


class _Signature:
    """Of a request, in its headers or in its link."""

    def __init__(self, credential: str, time: str, signature: str, signed: str, life_s: int | None) -> None:
        self.key_id, _, self.region, *_ = credential.split("/")
        self._time, self._signature, self._signed = time, signature, signed.split(";")
        self._life_s = life_s

    @classmethod
    def of(cls, request: Request) -> "_Signature | None":
        header, query = request.headers.get("Authorization", ""), request.args
        if header:
            words = dict(part.strip().split("=", 1) for part in header.partition(" ")[2].split(","))
            time = request.headers["X-Amz-Date"]
            return cls(words["Credential"], time, words["Signature"], words["SignedHeaders"], None)
        if "X-Amz-Signature" in query:
            credential, time = query["X-Amz-Credential"], query["X-Amz-Date"]
            signed, life_s = query["X-Amz-SignedHeaders"], int(query["X-Amz-Expires"])
            return cls(credential, time, query["X-Amz-Signature"], signed, life_s)
        return None

    @property
    def is_over(self) -> bool:
        if self._life_s is None:
            return False
        began = datetime.strptime(self._time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return datetime.now(UTC) > began + timedelta(seconds=self._life_s)

    def fits(self, request: Request, secret: str) -> bool:
        kind = S3SigV4Auth if self._life_s is None else S3SigV4QueryAuth
        signer = kind(Credentials(self.key_id, secret), "s3", self.region)
        headers = {name: value for name, value in request.headers if name.lower() in self._signed}
        path, _, query = request.environ["REQUEST_URI"].partition("?")
        parts = [part for part in query.split("&") if not part.startswith("X-Amz-Signature=")]
        url = f"http://{request.host}{path}?{'&'.join(parts)}"
        signed = AWSRequest(method=request.method, url=url, headers=headers)
        signed.context["timestamp"] = self._time
        wanted = signer.signature(signer.string_to_sign(signed, signer.canonical_request(signed)), signed)
        return secrets.compare_digest(wanted, self._signature)


def _actions(request: Request) -> list[str]:
    """As a policy would name them."""
    names = {"PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject"}
    if request.method == "POST" and "delete" in request.args:
        return ["DeleteObject"]
    if "list-type" in request.args:
        return ["ListBucket"]
    acl = ["PutObjectAcl"] if "x-amz-acl" in request.headers else []
    return [names.get(request.method, "GetObject"), *acl]


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running_s3() -> Iterator[S3Server]:
    """A server with an empty bucket, while the block runs."""
    server = S3Server()
    server.start()
    try:
        yield server
    finally:
        if server.is_running:
            server.stop()
