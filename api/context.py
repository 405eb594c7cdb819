"""What every request handler of one gateway process shares."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fastapi import Request

from api.bodies import Bodies
from api.intake import Intake
from api.links import Links
from api.metrics import Metrics
from api.waiting import Waiter
from shared.api_keys import KeyRing
from shared.broker import Bell
from shared.ledger import AsyncLedger
from shared.manifests import Manifests
from shared.registry.reading import AsyncRegistry
from shared.sealing import Sealer
from shared.settings import Settings
from shared.storage import FolderStorage

if TYPE_CHECKING:  # it works with the gateway itself
    from api.balancing.balancer import Balancer


@dataclass(frozen=True)
class Gateway:
    settings: Settings
    sealer: Sealer
    keys: KeyRing
    ledger: AsyncLedger
    waiter: Waiter
    bodies: Bodies
    bell: Bell
    registry: AsyncRegistry
    storage: FolderStorage
    intake: Intake
    links: Links
    manifests: Manifests
    metrics: Metrics
    balancer: "Balancer"


def gateway_of(request: Request) -> Gateway:
    return cast(Gateway, request.app.state.gateway)
