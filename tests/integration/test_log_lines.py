"""Whose job a line of the log is about, on the engine's thread too, which serves many."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import GenerationFailed
from shared.logs import Bound, about_job
from tests.support.jobs import make_spec
from worker.gpu.engine import Engine, Picture
from worker.gpu.engine.ask import Note, Steps
from worker.gpu.engine.solo import Pause, solo

logger = logging.getLogger(__name__)


class Kept(logging.Handler):
    """Lines as the log has them."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(Bound())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(dict(record.__dict__))

    def about(self, event: str) -> list[tuple[object, object]]:
        """The jobs that such lines are about, by their ids and their clients'."""
        return [(each.get("job_id"), each.get("track_id")) for each in self.lines if each["msg"] == event]


@pytest.fixture
def log() -> Iterator[Kept]:
    kept, root = Kept(), logging.getLogger()
    level = root.level
    root.addHandler(kept)
    root.setLevel(logging.INFO)
    yield kept
    root.removeHandler(kept)
    root.setLevel(level)


def failing(_: Note) -> Steps[Picture]:
    logger.info("a program")
    raise GenerationFailed("Why.")
    yield []


def failing_alone(note: Note) -> Steps[Picture]:
    def work(pause: Pause) -> Picture:
        pause(0.5)
        logger.info("a program")
        raise GenerationFailed("Why.")

    return (yield from solo(work, note))


@pytest.mark.parametrize("program", [failing, failing_alone], ids=["a program", "a call of a library"])
def test_a_line_of_the_engine_is_about_the_job_that_it_works_for(
    engine: Engine, log: Kept, program: Callable[[Note], Steps[Picture]]
) -> None:
    both = threading.Barrier(2)

    def make(job_id: int) -> None:
        with about_job(job_id, f"order-{job_id}"):
            both.wait(10)
            with pytest.raises(GenerationFailed):
                engine.submit([program, program]).result()

    with ThreadPoolExecutor(2) as slots:
        list(slots.map(make, (7, 8)))

    assert set(log.about("a program")) == {(7, "order-7"), (8, "order-8")}
    assert set(log.about("a picture failed")) == {(7, "order-7"), (8, "order-8")}


def test_a_line_is_about_no_job_when_the_work_on_it_is_over(log: Kept) -> None:
    with about_job(7, "order-7"):
        logger.info("within")
    logger.info("after")

    assert log.about("within") == [(7, "order-7")]
    assert log.about("after") == [(None, None)]


@pytest.mark.parametrize(
    ("track_id", "shown"),
    [("x" * 201, "x" * 200), (77, "77"), (1.5, "1.5"), (True, "true"), (None, None), ("", "")],
    ids=repr,
)
def test_a_clients_own_id_is_text_in_logs_and_not_too_long(track_id: object, shown: str | None) -> None:
    assert make_spec(track_id=track_id).tracked_as == shown
