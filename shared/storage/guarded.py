"""boto3's way out: its connections go only to addresses that were checked, as those of shared/outbound.py do.

botocore would look names up by itself, so a name that was checked could lead elsewhere when it is used.
"""

import contextlib
import socket
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
    AWSPreparedRequest,
    AWSRequest,
    AWSResponse,
)
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from shared.addresses import look_up
from shared.errors import RefusedAddress


class _Guarded(AWSHTTPConnection):
    """Keeps the host's name for TLS and the Host header, and connects to its addresses in turn."""

    def __init__(self, allowed_private_hosts: Collection[str], **known: Any) -> None:
        super().__init__(**known)
        self._allowed = allowed_private_hosts

    def _new_conn(self) -> socket.socket:
        name = self.host
        try:
            *others, last = look_up(name, self.port or self.default_port, self._allowed)
        except OSError as exc:
            raise NewConnectionError(self, f"{name} can't be resolved") from exc
        try:
            for address in others:
                self.host = address
                with contextlib.suppress(NewConnectionError, ConnectTimeoutError):
                    return super()._new_conn()
            self.host = last
            return super()._new_conn()
        finally:
            self.host = name


class _GuardedTls(_Guarded, AWSHTTPSConnection):  # type: ignore[misc] # as in botocore
    pass


class GuardedSession(URLLib3Session):
    """What sends botocore's requests: no proxy, and never to a private host that is not allowed."""

    def __init__(self, allowed_private_hosts: Collection[str], **known: Any) -> None:
        super().__init__(**known)
        allowed = frozenset(allowed_private_hosts)
        self._manager.pool_classes_by_scheme = {  # type: ignore[attr-defined] # its stubs don't know it
            "http": partial(_pool, AWSHTTPConnectionPool, partial(_Guarded, allowed)),
            "https": partial(_pool, AWSHTTPSConnectionPool, partial(_GuardedTls, allowed)),
        }

    def send(self, request: AWSRequest | AWSPreparedRequest) -> AWSResponse:
        """Raises `RefusedAddress` for what may not be reached, and what botocore expects for all else."""
        try:
            return super().send(request)
        except HTTPClientError as exc:
            if isinstance(refused := exc.__context__, RefusedAddress):
                raise refused from None
            raise


def _pool(pool: Callable[..., Any], connection: Callable[..., Any], *place: object, **known: object) -> Any:
    made = pool(*place, **known)
    made.ConnectionCls = connection
    return made
