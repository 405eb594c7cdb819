"""Entry point of the gateway: `python -m api`."""

import asyncio
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.connection import Connection
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.settings import Settings
from shared.tracing import configure_tracing

SHUTDOWN_S = 5
EXIT_MISCONFIGURED = 2


class Server(uvicorn.Server):
    """On SIGTERM answers the requests that wait for pictures, instead of keeping them or cutting them off."""

    def __init__(self, config: uvicorn.Config, end_tracing: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_tracing = end_tracing

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """The process is ended by its signal right after this."""
        await super().shutdown(sockets)
        await asyncio.to_thread(self._end_tracing)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)  # noqa: S101 - we made it
        asyncio.get_running_loop().call_soon_threadsafe(app.state.gateway.waiter.release_all)
        super().handle_exit(sig, frame)


def main() -> None:
    configure_logging("gateway")
    try:
        settings = Settings.load()
        end_tracing = configure_tracing("gateway")
        app = create_app(settings)
    except Misconfigured as exc:
        sys.stderr.write(f"{exc.detail}\n")
        sys.exit(EXIT_MISCONFIGURED)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Connection,
        log_config=None,
        ws="none",
        access_log=False,  # a query string may hold a key
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    Server(config, end_tracing).run()


if __name__ == "__main__":
    main()
