"""The engine: the stock pipeline's picture for every sequence, whatever its neighbours are."""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from shared.errors import Cancelled
from shared.schedulers import SCHEDULERS
from tests.support import tiny
from tests.support.waiting import wait_until
from worker.gpu.engine import Engine, PictureRequest, Rendering
from worker.gpu.engine.batching import DeviceLost, run_split
from worker.gpu.engine.rendering import Pixels
from worker.gpu.models import LoadedModel, from_pipeline


def request(**changes: Any) -> PictureRequest:
    values: dict[str, Any] = {
        "prompt": "a red circle",
        "negative_prompt": "blurry",
        "width": 64,
        "height": 64,
        "steps": 5,
        "guidance_scale": 7.5,
        "scheduler": "EulerDiscreteScheduler",
        "seed": 1,
    }
    return PictureRequest(**(values | changes))


@pytest.fixture(scope="module")
def pipeline() -> diffusers.StableDiffusionPipeline:
    return tiny.stable_diffusion()


@pytest.fixture
def model(pipeline: diffusers.StableDiffusionPipeline) -> LoadedModel:
    return from_pipeline("tiny", pipeline)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(lane_width=8, on_fatal=lambda error: None)
    engine.start()
    yield engine
    engine.close()


class Watched:
    """The model's UNet with something done before each forward; counts the rows of every forward."""

    def __init__(
        self, model: LoadedModel, before: Callable[[torch.Tensor], object] = lambda inputs: None
    ) -> None:
        self._unet, self._before = model.unet, before
        self.config = model.unet.config
        self.rows: list[int] = []

    def __call__(self, inputs: torch.Tensor, *args: Any, **options: Any) -> Any:
        self.rows.append(len(inputs))
        self._before(inputs)
        return self._unet(inputs, *args, **options)


def stock_picture(pipeline: diffusers.StableDiffusionPipeline, wanted: PictureRequest) -> Pixels:
    """What the stock pipeline makes of the same arguments."""
    base = pipeline.scheduler.config
    kind = getattr(diffusers, wanted.scheduler)
    extra = (
        {"clip_sample": False}
        if wanted.scheduler in ("DDPMScheduler", "DDIMScheduler", "LCMScheduler")
        else {}
    )
    pipeline.scheduler = kind.from_config(base, **extra)
    try:
        pictures = pipeline(
            wanted.prompt,
            negative_prompt=wanted.negative_prompt,
            width=wanted.width,
            height=wanted.height,
            num_inference_steps=wanted.steps,
            guidance_scale=wanted.guidance_scale,
            generator=torch.Generator().manual_seed(wanted.seed),
            output_type="np",
        ).images
    finally:
        pipeline.scheduler = diffusers.PNDMScheduler.from_config(base)
    picture: Pixels = (pictures[0] * 255).round().astype(np.uint8)
    return picture


def assert_same(made: Pixels, stock: Pixels) -> None:
    """At most 1/255 apart on at least 99.9 % of the pixels."""
    apart = np.abs(made.astype(int) - stock.astype(int))
    assert (apart <= 1).mean() >= 0.999, (
        f"{(apart > 1).mean():.2%} of the pixels differ, by up to {apart.max()}"
    )


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_lone_picture_equals_the_stock_pipelines(
    engine: Engine, model: LoadedModel, pipeline: diffusers.StableDiffusionPipeline, scheduler: str
) -> None:
    wanted = request(scheduler=scheduler, steps=7)

    (made,) = engine.submit(model, [wanted]).result()

    assert_same(made, stock_picture(pipeline, wanted))


def test_pictures_in_mixed_company_equal_the_stock_pipelines(
    engine: Engine, model: LoadedModel, pipeline: diffusers.StableDiffusionPipeline
) -> None:
    """Other step counts, guidance (1 included), schedulers, prompts and sizes, joining while others run."""
    wanted = [
        request(
            prompt=f"a blue star {index}",
            steps=4 + index % 5,
            guidance_scale=(1.0, 5.0, 7.5, 12.0)[index % 4],
            scheduler=scheduler,
            seed=100 + index,
            width=64 if index % 3 else 96,
        )
        for index, scheduler in enumerate(SCHEDULERS)
    ]

    renderings = [engine.submit(model, [each]) for each in wanted[:5]]
    wait_until(lambda: renderings[0].progress > 0)
    renderings += [engine.submit(model, [each]) for each in wanted[5:]]

    for each, rendering in zip(wanted, renderings, strict=True):
        assert_same(rendering.result()[0], stock_picture(pipeline, each))


def test_jobs_with_other_steps_and_guidance_share_forwards(engine: Engine, model: LoadedModel) -> None:
    gate = threading.Event()
    unet = Watched(model, before=lambda _: gate.wait(10))
    watched = dataclasses.replace(model, unet=unet)

    first = engine.submit(watched, [request(steps=3)])
    wait_until(lambda: unet.rows)
    others = [
        engine.submit(watched, [request(steps=steps, guidance_scale=g)]) for steps, g in ((5, 3.0), (9, 1.0))
    ]
    gate.set()
    for rendering in [first, *others]:
        rendering.result()

    assert unet.rows == [2, 5, 5, 3, 3, 3, 1, 1, 1, 1]


def test_a_cancelled_rendering_leaves_at_the_next_step_and_the_others_go_on(
    engine: Engine, model: LoadedModel
) -> None:
    doomed, other = engine.submit(model, [request(steps=900)] * 2), engine.submit(model, [request(steps=20)])
    wait_until(lambda: doomed.progress > 0)

    doomed.cancel()

    with pytest.raises(Cancelled):
        doomed.result()
    assert doomed.progress < 1
    assert other.result()[0].shape == (64, 64, 3)


def test_a_rendering_cancelled_during_its_last_step_is_not_kept_waiting(
    engine: Engine, model: LoadedModel
) -> None:
    renderings: list[Rendering] = []
    begun = threading.Event()

    def cancel_in_the_forward(_: torch.Tensor) -> None:
        begun.wait(10)
        renderings[0].cancel()

    unet = Watched(model, before=cancel_in_the_forward)
    renderings.append(engine.submit(dataclasses.replace(model, unet=unet), [request(steps=1)]))
    begun.set()

    with pytest.raises(Cancelled):
        renderings[0].result()


def test_a_steady_stream_of_short_jobs_does_not_hold_up_a_long_one(
    engine: Engine, model: LoadedModel
) -> None:
    long_one = engine.submit(model, [request(steps=30)])
    wait_until(lambda: long_one.progress > 0)

    shorts = 0
    while long_one.progress < 1:
        engine.submit(model, [request(steps=1, width=96)]).result()
        shorts += 1
        assert shorts < 100

    assert len(long_one.result()) == 1


def test_a_short_job_of_another_size_is_not_kept_behind_long_ones(engine: Engine, model: LoadedModel) -> None:
    long_ones = [engine.submit(model, [request(steps=900, seed=seed)]) for seed in range(8)]
    wait_until(lambda: long_ones[0].progress > 0)

    engine.submit(model, [request(steps=2, width=96)]).result()

    assert all(rendering.progress < 0.5 for rendering in long_ones)
    for rendering in long_ones:
        rendering.cancel()


def test_running_out_of_memory_narrows_the_lane_and_fails_nobody(engine: Engine, model: LoadedModel) -> None:
    def refuse_more_than_four_rows(inputs: torch.Tensor) -> None:
        if len(inputs) > 4:
            raise torch.OutOfMemoryError("too wide")

    unet = Watched(model, before=refuse_more_than_four_rows)
    crowd = engine.submit(
        dataclasses.replace(model, unet=unet), [request(steps=4, seed=seed) for seed in range(6)]
    )

    assert len(crowd.result()) == 6
    first_that_fits = next(i for i, rows in enumerate(unet.rows) if rows <= 4)
    assert max(unet.rows[first_that_fits + 4 :]) <= 4


def test_a_request_that_cannot_begin_fails_alone(engine: Engine, model: LoadedModel) -> None:
    good, bad = engine.submit(model, [request()]), engine.submit(model, [request(scheduler="Magic")])

    with pytest.raises(ValueError, match="Magic"):
        bad.result()
    assert len(good.result()) == 1


def test_a_lost_device_is_fatal_and_not_repaired(model: LoadedModel) -> None:
    def lose(inputs: torch.Tensor) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    fatal: list[BaseException] = []
    engine = Engine(lane_width=8, on_fatal=fatal.append)
    engine.start()

    engine.submit(dataclasses.replace(model, unet=Watched(model, before=lose)), [request()])

    wait_until(lambda: fatal)
    assert isinstance(fatal[0], DeviceLost)


def test_only_the_bad_items_of_a_batch_fail() -> None:
    def work(items: Any) -> list[int]:
        if 3 in items:
            raise RuntimeError("three")
        return [item * 10 for item in items]

    results = run_split(work, [1, 2, 3, 4, 5])

    assert [result for result in results if isinstance(result, int)] == [10, 20, 40, 50]
    assert isinstance(results[2], RuntimeError)
