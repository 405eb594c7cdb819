"""Who the other servers are: the operator's settings, and what admins have changed since."""

import json
from collections.abc import Mapping

from shared import ledger
from shared.errors import BadRequest, Misconfigured
from shared.ledger import AsyncLedger
from shared.sealing import Sealer
from shared.settings import Peer


class Peers:
    """By their names. Their keys lie sealed in the ledger."""

    def __init__(self, given: Mapping[str, Peer], sealer: Sealer, store: AsyncLedger) -> None:
        """`given`: those of the settings."""
        self._given = given
        self._sealer = sealer
        self._ledger = store

    async def look(self) -> dict[str, Peer]:
        """As they are now; raises `LedgerUnavailable`, and `Misconfigured` if one can't be opened here."""
        known = dict(self._given)
        for name, sealed in (await self._ledger.run(ledger.peers())).items():
            if sealed:
                known[name] = Peer.model_validate_json(self._sealer.open(sealed))
            else:
                known.pop(name, None)
        return known

    async def add(self, name: str, peer: Peer) -> None:
        """Who had the name before is replaced. Raises `BadRequest` if its key can't be kept here."""
        content = {"url": peer.url, "key": peer.key.get_secret_value()}
        await self._ledger.run(ledger.set_peer(name, self._sealer.seal(json.dumps(content))))

    async def remove(self, name: str) -> None:
        """Raises `BadRequest` if there is none of the name."""
        try:
            known = await self.look()
        except Misconfigured:
            known = {}
        if name not in known:
            raise BadRequest(f"There is no peer {name}: peers lists those that there are.")
        await self._ledger.run(ledger.set_peer(name, ""))
