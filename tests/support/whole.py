"""A cluster that has everything which the documented requests ask for."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from shared.settings import DEMO
from tests.support.processes import LocalCluster, running_cluster
from tests.support.tiny_finishing import save_safety_checker
from tests.support.tiny_flux import save_flux


@contextlib.contextmanager
def running_whole_cluster(folder: Path) -> Iterator[LocalCluster]:
    """As `make run` starts it, with a safety checker and a Flux model besides."""
    models = {"demo": str(DEMO / "model"), "flux": str(save_flux(folder / "flux"))}
    with running_cluster(
        folder / "data",
        PRINTWORKS_MODELS=json.dumps(models),
        PRINTWORKS_SAFETY_CHECKER=str(save_safety_checker(folder / "checker")),
    ) as cluster:
        yield cluster
