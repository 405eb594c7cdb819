"""Keeps a gateway up to date: seeds the registry from models.yaml, reads settings and keys anew when told."""

import asyncio
import dataclasses
import logging

from fastapi import FastAPI

from api.context import Gateway
from api.intake import Intake
from api.links import Links
from shared.api_keys import KeyRing
from shared.errors import LedgerUnavailable, Misconfigured, PrintworksError
from shared.ledger import Ledger
from shared.registry.file import read_models
from shared.sealing import Sealer
from shared.seeding import seed_registry, source_of
from shared.settings import Settings
from shared.storage import FolderStorage

logger = logging.getLogger(__name__)


def require_usable(settings: Settings) -> KeyRing:
    """The keys. Raises `Misconfigured` if a gateway must not serve with these settings."""
    settings.require_serviceable()
    for model in read_models(settings.models_file):
        if model.path is None:
            source_of(model, settings)
    return KeyRing.from_settings(settings)


async def seeded(store: Ledger, settings: Settings) -> bool:
    """False if it is to be tried again."""
    try:
        await asyncio.to_thread(seed_registry, store, settings)
    except LedgerUnavailable:
        logger.warning("registry not seeded yet: the ledger is out of reach")
        return False
    except PrintworksError as exc:
        logger.error("models.yaml refused, the registry stays as it is", extra={"reason": exc.detail})
    except Exception:
        logger.exception("registry not seeded yet")
        return False
    return True


async def keep_up(app: FastAPI, store: Ledger, is_seeded: bool) -> None:
    """Runs until it is cancelled, whatever goes wrong. `store` is for threads."""
    upkeep = Upkeep(app, store, is_seeded)
    while True:
        try:
            await upkeep.round()
        except Exception:
            logger.exception("upkeep failed; it is tried again")
        gateway: Gateway = app.state.gateway
        await asyncio.sleep(gateway.settings.sweep_s)


class Upkeep:
    """Of one gateway."""

    def __init__(self, app: FastAPI, store: Ledger, is_seeded: bool) -> None:
        self._app = app
        self._ledger = store
        self._is_seeded = is_seeded
        self._is_looked_at = False
        self._known: int | None = None

    async def round(self) -> None:
        """Do what is to be done now."""
        gateway: Gateway = self._app.state.gateway
        try:
            models = await gateway.registry.look()
        except LedgerUnavailable:
            return
        if self._known is not None and models.updates != self._known:
            self._app.state.gateway = gateway = await _updated(gateway)
            self._is_seeded = False
        self._known = models.updates
        if models.is_empty:  # also if another Redis has taken the place of the one that was seeded
            self._is_seeded = False
        if not self._is_looked_at:
            for flaw in await gateway.ledger.flaws():
                logger.error("redis can't be trusted", extra={"reason": flaw})
            self._is_looked_at = True
        if not self._is_seeded:
            self._is_seeded = await seeded(self._ledger, gateway.settings)


async def _updated(gateway: Gateway) -> Gateway:
    """With settings and keys as they are now. What a process can't change while it runs stays as it was:
    where it listens, its ledger, its folder."""
    try:
        settings = await asyncio.to_thread(Settings.load)
        kept = {name: getattr(gateway.settings, name) for name in ("redis_url", "host", "port", "data_dir")}
        settings = settings.model_copy(update=kept)
        keys = await asyncio.to_thread(require_usable, settings)
    except Misconfigured as exc:
        logger.error("settings refused, they stay as they were", extra={"reason": exc.detail})
        return gateway
    logger.info("settings read")
    storage = FolderStorage(settings.data_dir, settings.temp_life_s)
    sealer = Sealer(settings)
    return dataclasses.replace(
        gateway,
        settings=settings,
        sealer=sealer,
        keys=keys,
        storage=storage,
        intake=Intake(settings, storage),
        links=Links(settings, sealer),
    )
