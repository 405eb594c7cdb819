"""Makes a job's pictures from its spec: words, kit, engine, finishing. Knows no ledger and no storage."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from shared.jobs import JobSpec, Outcome
from worker.gpu.engine import Engine, Picture, Pixels, Rendering
from worker.gpu.finishing.effects import cover
from worker.gpu.models.library import Library
from worker.gpu.painting import paint
from worker.gpu.plan import plan_job
from worker.gpu.words import Wording


@dataclass(frozen=True)
class Made:
    pictures: list[Pixels]
    outcome: Outcome


@dataclass(frozen=True)
class Studio:
    """What the slots of one worker share to make pictures with."""

    library: Library
    wording: Wording
    engine: Engine

    def make(self, spec: JobSpec, on_begin: Callable[[Rendering], None] = lambda _: None) -> Made:
        """Blocks until all pictures are made; `on_begin` gets the rendering, to watch or to cancel it.

        Raises `Cancelled`, or `GenerationFailed` with what is to be told to the client.
        """
        started = time.monotonic()
        words = self.wording.prepare(
            spec.prompt,
            spec.negative_prompt or "",
            seed=spec.seed,
            translate=spec.multi_lingual,
            enhance=spec.enhance_prompt,
        )
        with self.library.kit(spec) as kit:
            plan = plan_job(spec, words, kit)
            rendering = self.engine.submit([partial(paint, kit, request) for request in plan.requests])
            on_begin(rendering)
            pictures = rendering.result()
        finished = [_finished(picture, spec) for picture in pictures]
        outcome = plan.outcome([picture.is_sensitive for picture in pictures], time.monotonic() - started)
        return Made(finished, outcome)


def _finished(picture: Picture, spec: JobSpec) -> Pixels:
    pixels = picture.develop()
    return cover(pixels, spec.safety_checker_type) if picture.is_sensitive else pixels
