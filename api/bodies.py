"""Bounds what bodies take whose senders are not known yet: the key may be in the body, so it is read first.

Knows nothing of keys, nor of what is in a body.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from shared.errors import TooManyBodies

SMALL_BYTES = 64 * 1024
"""So much of each body is never refused: requests without pictures get through, whoever fills the rest."""
RETRY_AFTER_S = 5
THREADS = 2
"""Large bodies that are unpacked and read at once: each may take several times its bytes meanwhile."""

T = TypeVar("T")


class Room:
    """What one request may still hold."""

    def __init__(self, bodies: "Bodies", most_bytes: int) -> None:
        self._bodies, self._most_bytes = bodies, most_bytes
        self.held = 0

    def require(self, size: int) -> None:
        """For `size` bytes in all that are announced, which holds nothing yet. Raises `TooManyBodies`."""
        if size > SMALL_BYTES and self._bodies.held + size - self.held > self._most_bytes:
            sentence = (
                f"Too many large requests arrive at the moment: send it again in {RETRY_AFTER_S} seconds."
            )
            raise TooManyBodies(sentence, RETRY_AFTER_S)

    def hold(self, size: int) -> None:
        """`size` bytes in all have come; raises `TooManyBodies`."""
        self.require(size)
        if size > SMALL_BYTES:
            self._bodies.held += size - self.held
            self.held = size


class Bodies:
    """One per gateway process, for its event loop."""

    def __init__(self) -> None:
        self.held = 0
        self._threads = ThreadPoolExecutor(THREADS, "bodies")

    @contextmanager
    def room(self, most_bytes: int) -> Iterator[Room]:
        """For one body, until the block ends. `most_bytes`: of all large bodies together."""
        room = Room(self, most_bytes)
        try:
            yield room
        finally:
            self.held -= room.held

    async def worked_out(self, work: Callable[[], T]) -> T:
        """What takes long or much memory: beside the event loop, and little of it at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
