"""The jobs of the benchmarks, and the two baselines that do them with stock diffusers."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import torch

from tests.bench.models import Subject
from worker.gpu.painting import PictureRequest
from worker.gpu.schedulers import Sampling, make_scheduler

PROMPTS = ("a red circle on a blue background", "a green star on white", "a large yellow ring on black")
STEPS, GUIDANCE = (21, 31, 41), (5.0, 7.5, 12.0)
SCHEDULERS = (
    "UniPCMultistepScheduler",
    "EulerDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
)


def mixed_jobs(count: int, side: int, seed: int = 7) -> list[PictureRequest]:
    """As clients send them: everything varies but the size."""
    random = Random(seed)
    return [
        PictureRequest(
            prompt=random.choice(PROMPTS),
            negative_prompt="blurry",
            width=side,
            height=side,
            sampling=Sampling(random.choice(SCHEDULERS), random.choice(STEPS)),
            guidance_scale=random.choice(GUIDANCE),
            seed=index,
        )
        for index in range(count)
    ]


def run_stock(subject: Subject, jobs: Sequence[PictureRequest]) -> None:
    """One call of the stock pipeline for all of `jobs`, which share everything but prompt and seed."""
    pipeline, first = subject.pipeline, jobs[0]
    usual = pipeline.scheduler
    pipeline.scheduler = make_scheduler(first.sampling, usual.config)
    try:
        pipeline(
            [job.prompt for job in jobs],
            negative_prompt=[job.negative_prompt for job in jobs],
            width=first.width,
            height=first.height,
            num_inference_steps=first.sampling.steps,
            guidance_scale=first.guidance_scale,
            generator=[torch.Generator().manual_seed(job.seed) for job in jobs],
        )
    finally:
        pipeline.scheduler = usual


@dataclass
class RequestBatcher:
    """What serving systems usually do: collect requests for a moment, run them together to the end.

    A fair one: it takes the oldest request and all waiting ones that the stock pipeline can run with it.
    """

    subject: Subject
    most: int = 8
    patience_s: float = 0.02
    _inbox: queue.SimpleQueue[tuple[PictureRequest, Callable[[], None]] | None] = field(
        default_factory=queue.SimpleQueue
    )

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, job: PictureRequest, on_done: Callable[[], None]) -> None:
        self._inbox.put((job, on_done))

    def close(self) -> None:
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        waiting: list[tuple[PictureRequest, Callable[[], None]]] = []
        is_closing = False
        while waiting or not is_closing:
            if not waiting:
                is_closing = not self._take(waiting, block=True)
            time.sleep(self.patience_s)
            while not self._inbox.empty():
                is_closing = not self._take(waiting, block=False) or is_closing
            if waiting:
                waiting = self._serve(waiting)

    def _take(self, waiting: list[tuple[PictureRequest, Callable[[], None]]], *, block: bool) -> bool:
        item = self._inbox.get(block=block)
        if item is not None:
            waiting.append(item)
        return item is not None

    def _serve(
        self, waiting: list[tuple[PictureRequest, Callable[[], None]]]
    ) -> list[tuple[PictureRequest, Callable[[], None]]]:
        oldest = waiting[0][0]
        batch = [
            item
            for item in waiting
            if (item[0].sampling, item[0].guidance_scale) == (oldest.sampling, oldest.guidance_scale)
        ][: self.most]
        run_stock(self.subject, [job for job, _ in batch])
        for _, on_done in batch:
            on_done()
        return [item for item in waiting if item not in batch]
