"""What every benchmark of the engine is given: both sides, ready to run, and how much to measure."""

import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from shared.settings import Settings
from tests.bench.models import Subject
from tests.bench.work import plain_job, run_stock
from worker.gpu.engine import Engine, Pixels, Rendering
from worker.gpu.painting import Kit, PictureRequest, paint


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    jobs: int
    rounds: int
    """How often either side does all that is timed together."""
    repeats: int
    """How often either side does a lone job."""
    steps: tuple[int, ...]
    """Of jobs that differ: each has one of these numbers."""
    lone_steps: int
    """Of all others."""


@dataclass(frozen=True)
class Contest:
    subject: Subject
    engine: Engine
    size: Size

    @property
    def kit(self) -> Kit:
        return Kit.plain(self.subject.model)

    def start(self, jobs: Sequence[PictureRequest]) -> list[Rendering]:
        """All of `jobs` on the engine, each for itself; returns at once."""
        return [self.start_together([job], self.kit) for job in jobs]

    def start_together(self, jobs: Sequence[PictureRequest], kit: Kit) -> Rendering:
        """As one rendering, of which all pictures join at the same step."""
        return self.engine.submit([partial(paint, kit, job) for job in jobs])

    def run_engine(self, jobs: Sequence[PictureRequest]) -> list[Pixels]:
        return finished(self.start(jobs))

    def run_one_by_one(self, jobs: Sequence[PictureRequest]) -> list[Pixels]:
        """With the stock pipeline."""
        return [picture for job in jobs for picture in run_stock(self.subject, [job])]


@contextmanager
def contest(subject: Subject, size: Size) -> Iterator[Contest]:
    """Both sides, warm: what only first forwards do has been done."""
    settings = Settings()
    engine = Engine(lane_width=settings.lane_width, device=subject.model.device, on_fatal=_end_process)
    engine.start()
    both = Contest(subject, engine, size)
    job = plain_job(subject.side, "EulerDiscreteScheduler", 2)
    for width in (1, settings.lane_width):
        run_stock(subject, [job] * width)
        both.run_engine([job] * width)
    try:
        yield both
    finally:
        engine.close()


def finished(renderings: Sequence[Rendering]) -> list[Pixels]:
    return [picture.develop() for rendering in renderings for picture in rendering.result()]


def _end_process(error: BaseException) -> None:
    """Nobody else would wake those that wait for pictures."""
    traceback.print_exception(error)
    os._exit(1)
