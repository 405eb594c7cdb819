"""What every request handler of one gateway process shares."""

from dataclasses import dataclass
from typing import cast

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


def gateway_of(request: Request) -> Gateway:
    return cast(Gateway, request.app.state.gateway)
