"""The jobs of the benchmarks, and the two baselines that do them with plain diffusers."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import perf_counter

import diffusers
import numpy as np
import torch

from tests.bench.models import Subject
from worker.gpu.engine import Pixels
from worker.gpu.painting import PictureRequest
from worker.gpu.schedulers import Sampling

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
"""Of the eighteen those that run in diffusers as they are, one forward per step."""


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


def plain_job(side: int, scheduler: str, steps: int, seed: int = 0) -> PictureRequest:
    return PictureRequest(
        prompt=PROMPTS[0],
        negative_prompt="blurry",
        width=side,
        height=side,
        sampling=Sampling(scheduler, steps),
        guidance_scale=7.5,
        seed=seed,
    )


def run_stock(subject: Subject, jobs: Sequence[PictureRequest]) -> list[Pixels]:
    """One call of the stock pipeline for all of `jobs`, which share everything but prompt and seed."""
    pipeline, first = subject.stock, jobs[0]
    usual = pipeline.scheduler
    kind = getattr(diffusers, first.sampling.name)
    # latents are no pixels: they must not be clipped to [-1, 1], which some classes do by default
    options = {"clip_sample": False} if first.sampling.name == "DDIMScheduler" else {}
    pipeline.scheduler = kind.from_config(usual.config, **options)
    try:
        images = pipeline(
            [job.prompt for job in jobs],
            negative_prompt=[job.negative_prompt for job in jobs],
            width=first.width,
            height=first.height,
            num_inference_steps=first.sampling.steps,
            guidance_scale=first.guidance_scale,
            generator=[torch.Generator().manual_seed(job.seed) for job in jobs],
        ).images
    finally:
        pipeline.scheduler = usual
    return [np.asarray(image) for image in images]


@dataclass(frozen=True, eq=False)
class Waiting:
    job: PictureRequest
    on_done: Callable[[], None]
    since: float

    def fits(self, other: "Waiting") -> bool:
        """Whether one stock call can make both pictures."""
        mine, its = self.job, other.job
        return (mine.sampling, mine.guidance_scale, mine.width, mine.height) == (
            its.sampling,
            its.guidance_scale,
            its.width,
            its.height,
        )


@dataclass
class RequestBatcher:
    """What serving systems usually do: collect requests for a moment, run them together to the end.

    A fair one: it serves the oldest request with all waiting ones that the stock pipeline can run beside it,
    and waits for company only while the oldest has not waited for `patience_s` yet.
    """

    subject: Subject
    most: int = 8
    patience_s: float = 0.02
    busy_s: float = 0.0
    calls: int = 0
    _inbox: queue.SimpleQueue[Waiting | None] = field(default_factory=queue.SimpleQueue)
    _waiting: list[Waiting] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, job: PictureRequest, on_done: Callable[[], None]) -> None:
        self._inbox.put(Waiting(job, on_done, perf_counter()))

    def close(self) -> None:
        """Once all are done."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._inbox.get()) is not None:
            self._waiting.append(first)
            while self._waiting:
                self._collect()
                self._serve()

    def _collect(self) -> None:
        """Takes in what has arrived, or arrives while the oldest may still wait for company."""
        until = self._waiting[0].since + self.patience_s
        while len(self._group()) < self.most:
            try:
                arrived = self._inbox.get(timeout=max(0.0, until - perf_counter()))
            except queue.Empty:
                return
            if arrived is None:
                self._inbox.put(None)  # for `_run`, once these are done
                return
            self._waiting.append(arrived)

    def _group(self) -> list[Waiting]:
        """The oldest and those that can run with it."""
        return [each for each in self._waiting if each.fits(self._waiting[0])][: self.most]

    def _serve(self) -> None:
        batch, begun = self._group(), perf_counter()
        run_stock(self.subject, [each.job for each in batch])
        self.busy_s += perf_counter() - begun
        self.calls += 1
        self._waiting = [each for each in self._waiting if each not in batch]
        for each in batch:
            each.on_done()
