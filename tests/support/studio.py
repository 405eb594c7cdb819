"""A studio in this process, without Redis and Celery: specs in, pictures out."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from shared.jobs import AnySpec, PictureSpec
from shared.settings import Settings
from tests.support.jobs import make_spec
from tests.support.models import installed, split
from tests.support.painting import running_engine
from worker.gpu.models.library import Library
from worker.gpu.models.precision import Precision
from worker.gpu.studio import Made, Studio

AT_ONCE = 8


@contextlib.contextmanager
def running_studio(**values: Any) -> Iterator[Studio]:
    """`values`: settings, and tables of models (tests/support/models.py)."""
    tables, settings = split(values)
    chosen = Settings(**settings)
    library = Library(chosen, Precision.choose("cpu", chosen.dtype), installed(**tables))
    with running_engine(make_room=library.make_room) as engine:
        yield Studio(library, engine)


def make_all(studio: Studio, specs: Sequence[AnySpec]) -> list[Made]:
    """All at the same time, as slots would."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(studio.make, specs))


def images(studio: Studio, specs: Sequence[AnySpec]) -> list[Image.Image]:
    """The first picture of each."""
    return [Image.fromarray(made.pictures[0]) for made in make_all(studio, specs)]


def demo_spec(**changes: Any) -> PictureSpec:
    """A picture that the demo model is good at, in few steps."""
    values: dict[str, Any] = {
        "prompt": "a red circle on a blue background",
        "width": 128,
        "height": 128,
        "steps": 12,
        "scheduler": "UniPCMultistepScheduler",
        "seed": 3,
    }
    return make_spec(**(values | changes))
