"""Keeps a gateway up to date: seeds the registry from models.yaml, reads settings and keys anew when told."""

import asyncio
import dataclasses
import logging

from fastapi import FastAPI

from api.context import Gateway
from api.intake import Intake
from api.links import Links
from shared.api_keys import KeyRing
from shared.errors import LedgerUnavailable, Misconfigured
from shared.ledger import Ledger
from shared.registry.file import read_models
from shared.seeding import seed_registry
from shared.settings import Settings

logger = logging.getLogger(__name__)


def require_usable(settings: Settings) -> KeyRing:
    """The keys. Raises `Misconfigured` if a gateway must not serve with these settings."""
    settings.require_serviceable()
    read_models(settings.models_file)
    return KeyRing.from_settings(settings)


async def seeded(store: Ledger, settings: Settings) -> bool:
    """False if the ledger could not be reached."""
    try:
        await asyncio.to_thread(seed_registry, store, settings)
    except LedgerUnavailable:
        logger.warning("registry not seeded yet: the ledger is out of reach")
        return False
    except Misconfigured as exc:
        logger.error("models.yaml refused, the registry stays as it is", extra={"reason": exc.detail})
    return True


async def keep_up(app: FastAPI, store: Ledger, is_seeded: bool) -> None:
    """Runs until it is cancelled. `store` is for threads."""
    known: int | None = None
    while True:
        gateway: Gateway = app.state.gateway
        updates = await _updates(gateway, known)
        if known is not None and updates != known:
            app.state.gateway = gateway = await _updated(gateway)
            is_seeded = False
        known = updates
        if not is_seeded:
            is_seeded = await seeded(store, gateway.settings)
        await asyncio.sleep(gateway.settings.sweep_s)


async def _updates(gateway: Gateway, known: int | None) -> int | None:
    try:
        return (await gateway.registry.look()).updates
    except LedgerUnavailable:
        return known


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
    intake, links = Intake(settings, gateway.storage), Links(settings)
    return dataclasses.replace(gateway, settings=settings, keys=keys, intake=intake, links=links)
