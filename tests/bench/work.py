"""The jobs of the benchmarks, and the two baselines that do them with plain diffusers."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from time import perf_counter
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from deploy.demo.drawing import draw, random_scene
from tests.bench.models import Subject
from worker.gpu.engine import Pixels
from worker.gpu.finishing.seam import joined
from worker.gpu.painting import PictureRequest, Start
from worker.gpu.schedulers import Sampling

PROMPTS = ("a red circle on a blue background", "a green star on white", "a large yellow ring on black")
GUIDANCE = (5.0, 7.5, 12.0)
SCHEDULERS = (
    "UniPCMultistepScheduler",
    "EulerDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
)
"""Of the eighteen those that run in diffusers as they are, one forward per step."""

KINDS = ("text2img", "img2img", "inpaint")
STRENGTHS = (0.5, 0.7, 0.9)


def mixed_jobs(count: int, side: int, steps: Sequence[int], seed: int = 7) -> list[PictureRequest]:
    """As clients send them: everything varies but the size."""
    random = Random(seed)
    return [
        PictureRequest(
            prompt=random.choice(PROMPTS),
            negative_prompt="blurry",
            width=side,
            height=side,
            sampling=Sampling(random.choice(SCHEDULERS), random.choice(steps)),
            guidance_scale=random.choice(GUIDANCE),
            seed=index,
        )
        for index in range(count)
    ]


def jobs_of_all_kinds(count: int, side: int, steps: Sequence[int]) -> list[PictureRequest]:
    """The same; of three, one starts from noise, one from a picture, and one paints a hole in a picture."""
    random = Random(8)
    return [
        replace(job, start=_start(index % len(KINDS), side, random))
        for index, job in enumerate(mixed_jobs(count, side, steps))
    ]


def _start(kind: int, side: int, random: Random) -> Start | None:
    if KINDS[kind] == "text2img":
        return None
    pixels = np.array(draw(random_scene(random), random, side=side))
    if KINDS[kind] == "img2img":
        return Start(pixels, random.choice(STRENGTHS))
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = 255
    return Start(pixels, 1.0, mask)


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
    """One call of the stock pipeline for all of `jobs`, which share everything but prompt and seed, and start
    from noise; or for one job."""
    first = jobs[0]
    pipeline, options = _stock_for(subject, first)
    usual = pipeline.scheduler
    kind = getattr(diffusers, first.sampling.name)
    # latents are no pixels: they must not be clipped to [-1, 1], which some classes do by default
    unclipped = {"clip_sample": False} if first.sampling.name == "DDIMScheduler" else {}
    pipeline.scheduler = kind.from_config(usual.config, **unclipped)
    try:
        images = pipeline(
            [job.prompt for job in jobs],
            negative_prompt=[job.negative_prompt for job in jobs],
            num_inference_steps=first.sampling.steps,
            guidance_scale=first.guidance_scale,
            generator=[torch.Generator().manual_seed(job.seed) for job in jobs],
            **options,
        ).images
    finally:
        pipeline.scheduler = usual
    return [_whole(np.asarray(image), job) for image, job in zip(images, jobs, strict=True)]


def _stock_for(subject: Subject, job: PictureRequest) -> tuple[diffusers.DiffusionPipeline, dict[str, Any]]:
    """The pipeline for the job's kind, and what only that is called with."""
    size: dict[str, Any] = {"width": job.width, "height": job.height}
    if job.start is None:
        return subject.stock, size
    from_picture, around_hole = subject.starting
    start: dict[str, Any] = {"image": Image.fromarray(job.start.pixels), "strength": job.start.strength}
    if job.start.mask is None:
        return from_picture, start
    return around_hole, size | start | {"mask_image": Image.fromarray(job.start.mask)}


def _whole(made: Pixels, job: PictureRequest) -> Pixels:
    """With what the mask keeps, as our pictures have it."""
    start = job.start
    return made if start is None or start.mask is None else joined(start.pixels, made, start.mask)


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
