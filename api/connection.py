"""HTTP/1.1 connections as uvicorn speaks them with h11, for clients that mean ill.

By h11, because httptools loses the body of a request that offers HTTP/2, as Java's own client does. As it is,
uvicorn waits for ever for a request's head, answers garbage with bare text, and can fail while it does so.
"""

import json
from asyncio import TimerHandle, Transport
from http import HTTPStatus
from typing import cast

import h11
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.security_headers import STRICT
from api.wire.answers import refusal
from shared.errors import BadRequest

MALFORMED = (
    "This is no HTTP request that can be read here: send one by HTTP/1.1, with less than 16 KB of headers."
)
LATE = "The request did not arrive in time: send it again, without pauses."


class Connection(H11Protocol):
    """One client's. Once it is refused, what still comes is thrown away until the client ends it."""

    _patience: TimerHandle | None = None
    _is_refused = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if not self._is_refused:
            self._watch_head()

    def on_response_complete(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:  # arriving.py has waited for the rest long enough
            self.transport.close()
        super().on_response_complete()
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_patient(False)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words say less
        self._refuse(HTTPStatus.BAD_REQUEST, MALFORMED)

    def _should_upgrade(self) -> bool:
        """Offers of WebSockets and HTTP/2 are passed over: what was asked for is answered by HTTP/1.1."""
        return False

    def _watch_head(self) -> None:
        """The first request must come soon, any other once it has begun; between them uvicorn's keep-alive
        counts."""
        is_due = self.cycle is None or bool(self.conn.trailing_data[0])
        self._be_patient(self.conn.their_state is h11.IDLE and is_due and not self.transport.is_closing())

    def _be_patient(self, is_waiting: bool) -> None:
        if is_waiting and self._patience is None:
            self._patience = self.loop.call_later(self._stall_s, self._lose_patience)
        elif not is_waiting and self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        if self._is_refused or not self.conn.trailing_data[0]:
            self.transport.abort()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, LATE)

    @property
    def _stall_s(self) -> float:
        app = cast(FastAPI, self.config.app)
        return float(app.state.gateway.settings.request_stall_s)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer, if that is owed and not begun, and let the client read it before the connection goes."""
        if self._is_refused or self.transport.is_closing():
            return
        if self.cycle is not None:  # the app must not answer too
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(status, json.dumps(refusal(BadRequest(detail))).encode())
        self._is_refused = True
        self.transport.write_eof()
        self._be_patient(False)
        self._patience = self.loop.call_later(self._stall_s, self._lose_patience)

    def _send(self, status: HTTPStatus, body: bytes) -> None:
        headers = [(name.encode(), value.encode()) for name, value in STRICT.items()]
        headers += [(b"Content-Type", b"application/json"), (b"Content-Length", str(len(body)).encode())]
        headers += [(b"Connection", b"close")]
        is_head = self.conn.our_state is h11.SEND_RESPONSE and self.scope["method"] == "HEAD"
        for event in (
            h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
            h11.Data(data=b"" if is_head else body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
