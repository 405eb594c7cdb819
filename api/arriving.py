"""Middleware: a body comes at a decent pace or is refused, and who still sends one gets to read the answer.

Who closes a connection on a client that is sending resets it, and the client never sees what was answered.
So what is left of a body is thrown away before an answer ends. connection.py watches the heads of requests.
"""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import BadRequest

SLOWEST_BYTES_PER_S = 16 * 1024
"""On average, after the first moments: the largest body may take half an hour, and no more."""
LONGEST_DRAIN_S = 30.0
STALLED = "The request body did not arrive in time: send it again, without pauses."


class Arriving:
    """Middleware; around all others, because any of them may answer early."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        arrival = _Arrival(headers, receive, scope["app"].state.gateway.settings.request_stall_s)
        # which of the two lengths a proxy before us went by is unknown, so nothing may follow (RFC 9112, 6.1)
        is_last = "transfer-encoding" in headers and "content-length" in headers

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and is_last:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            is_end = message["type"] == "http.response.body" and not message.get("more_body", False)
            if is_end and not arrival.is_over:
                await send({**message, "more_body": True})
                await arrival.drain()
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, arrival.receive, answer)


class _Arrival:
    """One request's body."""

    def __init__(self, headers: Headers, receive: Receive, stall_s: float) -> None:
        self._receive, self._stall_s = receive, stall_s
        self.is_over = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"
        """Nothing more of it is awaited."""
        self._began, self._bytes = _now(), 0

    async def receive(self) -> Message:
        """As ASGI has it; raises `BadRequest` for a body that stalls."""
        if self.is_over:
            return await self._receive()
        pace = self._began + self._stall_s + self._bytes / SLOWEST_BYTES_PER_S
        try:
            async with asyncio.timeout_at(min(pace, _now() + self._stall_s)):
                message = await self._receive()
        except TimeoutError:
            self.is_over = True
            raise BadRequest(STALLED) from None
        self._bytes += len(message.get("body", b""))
        self.is_over = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Throw away what still comes, for a while."""
        try:
            async with asyncio.timeout(LONGEST_DRAIN_S):
                while not self.is_over:
                    await self.receive()
        except (TimeoutError, BadRequest):
            pass  # then the connection is closed: no other request could be told from the rest of this one


def _now() -> float:
    return asyncio.get_running_loop().time()
