"""Deletes temporary files and old inputs when their time is over: from the folder that this process serves,
and from the buckets of S3 targets."""

import asyncio
import logging
import time
from dataclasses import dataclass

from fastapi import FastAPI

from api.context import Gateway
from shared.errors import LedgerUnavailable, Misconfigured
from shared.settings import Settings
from shared.storage import IN_BACKGROUND, S3Storages, StorageAway

logger = logging.getLogger(__name__)

ROUNDS_PER_LIFE = 24
LONGEST_PAUSE_S = 600.0
LEAST_INPUT_LIFE_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Means:
    """What a round works with, for as long as the settings are the same."""

    settings: Settings
    buckets: S3Storages

    @classmethod
    def of(cls, gateway: Gateway) -> "Means":
        settings = gateway.settings
        return cls(
            settings,
            S3Storages(gateway.sealer, settings.temp_life_s, settings.allow_private_hosts, IN_BACKGROUND),
        )


async def remove_expired_files(app: FastAPI) -> None:
    """Runs until it is cancelled. An expired file of the folder is not served even before it is deleted."""
    gateway: Gateway = app.state.gateway
    means = Means.of(gateway)
    while True:
        gateway = app.state.gateway
        if gateway.settings is not means.settings:  # they were read anew
            means = Means.of(gateway)
        try:
            await _clean_folder(gateway)
            await _clean_buckets(gateway, means.buckets)
        except Exception:
            logger.exception("expired files not deleted")
        await asyncio.sleep(min(LONGEST_PAUSE_S, gateway.settings.temp_life_s / ROUNDS_PER_LIFE))


async def _clean_folder(gateway: Gateway) -> None:
    # what is left there belongs to jobs that never ended in a slot, or that still wait: a cluster may be off
    # for days, so this is long
    input_life_s = max(gateway.settings.retention_s, LEAST_INPUT_LIFE_S)
    try:
        _tell(await asyncio.to_thread(gateway.storage.remove_expired, input_life_s))
    except OSError:
        logger.exception("expired files not deleted")


async def _clean_buckets(gateway: Gateway, buckets: S3Storages) -> None:
    try:
        targets = (await gateway.registry.look()).targets
    except LedgerUnavailable:
        return
    for entry_id, sealed in targets.items():
        try:
            _tell(await asyncio.to_thread(_clean, buckets, sealed))
        except (StorageAway, Misconfigured) as exc:
            reason = exc.reason if isinstance(exc, StorageAway) else exc.detail
            logger.warning("expired objects not deleted", extra={"target": entry_id, "reason": reason})


def _clean(buckets: S3Storages, sealed: str) -> int:
    return buckets.open(sealed).remove_expired(time.time())


def _tell(removed: int) -> None:
    if removed:
        logger.info("expired files deleted", extra={"files": removed})
