"""Entry point that fetches models.yaml's models before workers need them: `python -m worker.gpu.preload`.

Needs neither a GPU nor Redis, and registers nothing: the worker that loads them finds their files in the
models folder. What another process is fetching is waited for; what was cut off is gone on with.
"""

import logging
import sys

from shared.errors import GenerationFailed, Misconfigured
from shared.jobs import LoadSpec
from shared.logs import configure_logging
from shared.sealing import Sealer
from shared.seeding import listed_loads
from shared.settings import Settings
from worker.gpu.installing import Effort, Installer
from worker.gpu.installing.keeping import DRAWING

logger = logging.getLogger(__name__)

EXIT_MISSING = 1
EXIT_MISCONFIGURED = 2


def preload(settings: Settings) -> bool:
    """Whether all that are needed where `settings` are those of a pool are there now; one that can't be had
    keeps none of the others. Raises `Misconfigured`."""
    installer, is_whole = Installer(settings, Sealer(settings)), True
    for spec in listed_loads(settings):
        if not _is_needed(spec, settings):
            continue
        try:
            entry = installer.install(spec, Effort())
        except GenerationFailed as exc:
            is_whole = False
            logger.error("model not fetched", extra={"model_id": spec.model_id, "reason": exc.detail})
        else:
            logger.info("model there", extra={"model_id": spec.model_id, "bytes": entry.bytes})
    return is_whole


def _is_needed(spec: LoadSpec, settings: Settings) -> bool:
    """What draws is needed where its own jobs are made; what is used besides, such as a LoRA, everywhere."""
    return not settings.serves or spec.model_kind not in DRAWING or spec.model_id in settings.serves


def main() -> None:
    configure_logging("preload")
    try:
        is_whole = preload(Settings.load())
    except Misconfigured as exc:
        sys.stderr.write(f"{exc.detail}\n")
        sys.exit(EXIT_MISCONFIGURED)
    sys.exit(0 if is_whole else EXIT_MISSING)


if __name__ == "__main__":
    main()
