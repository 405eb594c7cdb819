"""A cluster that has everything which the documented requests ask for."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from shared.settings import DEMO
from tests.support.models import write_models_file
from tests.support.processes import LocalCluster, running_cluster
from tests.support.tiny_finishing import save_safety_checker
from tests.support.tiny_flux import save_flux


@contextlib.contextmanager
def running_whole_cluster(folder: Path) -> Iterator[LocalCluster]:
    """As `make run` starts it, with a safety checker and a Flux model besides."""
    file = write_models_file(
        folder / "models.yaml",
        models={"demo": DEMO / "model", "flux": save_flux(folder / "flux")},
        safety_checker=save_safety_checker(folder / "checker"),
    )
    with running_cluster(folder / "data", PRINTWORKS_MODELS_FILE=str(file)) as cluster:
        yield cluster
