"""Deletes temporary files and old inputs when their time is over, from the process that serves the folder."""

import asyncio
import logging

from shared.settings import Settings
from shared.storage import FolderStorage

logger = logging.getLogger(__name__)

ROUNDS_PER_LIFE = 24
LONGEST_PAUSE_S = 600.0
LEAST_INPUT_LIFE_S = 7 * 24 * 3600.0


async def remove_expired_files(storage: FolderStorage, settings: Settings) -> None:
    """Runs until it is cancelled. An expired file is not served even before it is deleted."""
    # what is left there belongs to jobs that never ended in a slot, or that still wait: a cluster may be off
    # for days, so this is long
    input_life_s = max(settings.retention_s, LEAST_INPUT_LIFE_S)
    pause_s = min(LONGEST_PAUSE_S, settings.temp_life_s / ROUNDS_PER_LIFE)
    while True:
        try:
            removed = await asyncio.to_thread(storage.remove_expired, input_life_s)
        except OSError:
            logger.exception("expired files not deleted")
        else:
            if removed:
                logger.info("expired files deleted", extra={"files": removed})
        await asyncio.sleep(pause_s)
