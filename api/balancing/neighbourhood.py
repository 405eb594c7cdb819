"""The peers that there are at the moment, each looked at by a task of its own."""

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from api.balancing.carried import How
from api.balancing.neighbour import Neighbour
from api.balancing.peers import Peers
from api.context import Gateway
from shared.errors import Misconfigured
from shared.outbound import Outbound
from shared.settings import Peer, Settings

logger = logging.getLogger(__name__)

PARTING_S = 0.1
NO_PEER = "it is no peer any more"


class Neighbourhood:
    """For one event loop."""

    def __init__(self, gateway: Callable[[], Gateway]) -> None:
        self._gateway = gateway
        self._neighbours: dict[str, Neighbour] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._outbound: tuple[tuple[str, ...], Outbound] | None = None
        self._looking = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def all(self) -> tuple[Neighbour, ...]:
        return tuple(self._neighbours.values())

    async def look(self) -> None:
        """Who they are now. Raises `LedgerUnavailable`."""
        async with self._looking:  # or who looked first could act last, on what is no longer true
            await self._look()

    async def _look(self) -> None:
        gateway = self._gateway()
        try:
            known = await Peers(gateway.settings.peers, gateway.sealer, gateway.ledger).look()
        except Misconfigured as exc:
            logger.error("peers can't be read", extra={"reason": exc.detail})
            return
        for name in [name for name, each in self._neighbours.items() if known.get(name) != each.peer]:
            self._forget(name)
        for name, peer in known.items():
            if name not in self._neighbours:
                self._meet(name, peer, gateway.settings)
        for neighbour in self.all:
            neighbour.peers = len(known)

    async def outbound(self) -> tuple[tuple[str, ...], Outbound]:
        """The way to what clients may name and to the peers, which may be private: an operator has named
        them. With the private hosts that it may reach."""
        named = {urlsplit(each.peer.url).hostname or "" for each in self.all}
        hosts = (*self._gateway().settings.allow_private_hosts, *sorted(named))
        if self._outbound is None or self._outbound[0] != hosts:
            self._outbound = (hosts, await asyncio.to_thread(Outbound, hosts))
        return self._outbound

    async def close(self) -> None:
        tasks = [*self._watching.values(), *self._closing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for neighbour in self.all:
            await neighbour.close()

    def _meet(self, name: str, peer: Peer, settings: Settings) -> None:
        neighbour = self._neighbours[name] = Neighbour(name, peer, settings.server_name)
        self._watching[name] = asyncio.create_task(neighbour.run(), name=f"peer-{name}")

    def _forget(self, name: str) -> None:
        neighbour = self._neighbours.pop(name)
        self._watching.pop(name).cancel()
        for carried in neighbour.given.values():
            carried.end(How.GONE, NO_PEER)
        task = asyncio.create_task(_part_from(neighbour))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _part_from(neighbour: Neighbour) -> None:
    """When it has been told to stop what it makes."""
    while neighbour.is_busy:
        await asyncio.sleep(PARTING_S)
    await neighbour.close()
