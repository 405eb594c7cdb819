"""Films of both families, loaded from real folders and made by the engine, against the stock pipelines."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from shared.errors import Cancelled, GenerationFailed
from shared.schedulers import SCHEDULERS
from tests.support import tiny, tiny_video
from tests.support.filming import film_request, filmed, stock_film, submit_film
from tests.support.painting import assert_same, painted, request, submit
from tests.support.waiting import wait_until
from worker.gpu.engine import Engine
from worker.gpu.filming import (
    FilmRequest,
    VideoModel,
    film,
    load_video_model,
)
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.models.precision import Precision
from worker.gpu.painting import Kit
from worker.gpu.schedulers import Sampling, make_scheduler

FP32 = Precision.choose("cpu", "fp32")
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}


@dataclass(frozen=True)
class Family:
    """A loaded model, the stock pipeline over equal weights, and how that comes to its scheduler."""

    model: VideoModel
    stock: diffusers.DiffusionPipeline
    scheduler: Callable[[Sampling], Any]

    def stock_film(self, wanted: FilmRequest, **options: Any) -> Any:
        return stock_film(self.stock, self.scheduler(wanted.sampling), wanted, **options)


def flow_scheduler(sampling: Sampling) -> Any:
    if sampling.name == "EulerDiscreteScheduler":
        return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return getattr(diffusers, sampling.name)(**FLOW)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny_video.save_all(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module")
def families(folders: dict[str, Path]) -> dict[str, Family]:
    animatediff = diffusers.AnimateDiffPipeline.from_pretrained(folders["animatediff"])
    wan = diffusers.WanPipeline.from_pretrained(folders["wan"])
    for pipeline in (animatediff, wan):
        pipeline.set_progress_bar_config(disable=True)
    loaded = load_video_model("animatediff", folders["checkpoint"], FP32, folders["adapter"])
    return {
        "animatediff": Family(
            loaded, animatediff, lambda sampling: make_scheduler(sampling, animatediff.scheduler.config)
        ),
        "wan": Family(load_video_model("wan", folders["wan"], FP32), wan, flow_scheduler),
    }


@pytest.fixture(params=["animatediff", "wan"])
def family(families: dict[str, Family], request: pytest.FixtureRequest) -> Family:
    return families[request.param]


SAMPLERS = ["UniPCMultistepScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"]


@pytest.mark.parametrize("scheduler", SAMPLERS)
@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_a_film_equals_that_of_the_stock_pipeline(
    engine: Engine, family: Family, scheduler: str, guidance_scale: float
) -> None:
    wanted = film_request(scheduler=scheduler, guidance_scale=guidance_scale)

    made = filmed(engine, family.model, wanted)

    assert_same(made, family.stock_film(wanted))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_animatediff_takes_every_scheduler(
    engine: Engine, families: dict[str, Family], scheduler: str
) -> None:
    family, wanted = families["animatediff"], film_request(scheduler=scheduler, width=32, height=32)

    made = filmed(engine, family.model, wanted)

    assert_same(made, family.stock_film(wanted))


@pytest.mark.parametrize(("width", "height", "frames"), [(56, 40, 6), (64, 48, 1), (72, 64, 8)])
def test_a_film_has_the_size_and_the_number_of_frames_that_were_asked_for(
    engine: Engine, family: Family, width: int, height: int, frames: int
) -> None:
    made = filmed(engine, family.model, film_request(width=width, height=height, frames=frames))

    assert made.shape == (frames, height, width, 3)


def test_a_film_of_a_size_that_the_model_can_not_make_is_the_middle_of_a_larger_one(
    engine: Engine, families: dict[str, Family]
) -> None:
    family, wanted = families["wan"], film_request(width=56, height=40, frames=6)

    made = filmed(engine, family.model, wanted)

    whole = family.stock_film(wanted, width=64, height=48, num_frames=9)
    assert_same(made, whole[:6, 4:44, 4:60])


def test_a_seed_repeats_its_film_and_another_makes_another(engine: Engine, family: Family) -> None:
    first, again, other = (filmed(engine, family.model, film_request(seed=seed)) for seed in (1, 1, 2))

    assert (first == again).all()
    assert (first != other).mean() > 0.1


def test_the_frames_of_a_film_differ(engine: Engine, family: Family) -> None:
    made = filmed(engine, family.model, film_request())

    assert all((one != next_one).any() for one, next_one in pairwise(made))


def test_two_films_at_the_same_time_equal_those_made_alone(engine: Engine, family: Family) -> None:
    wanted = [
        film_request(steps=4, guidance_scale=1.0),
        film_request(seed=2, scheduler="EulerDiscreteScheduler", steps=6, width=80),
    ]
    alone = [filmed(engine, family.model, each) for each in wanted]

    together = submit_film(engine, family.model, *wanted).result()

    for made, frames in zip(together, alone, strict=True):
        assert (made.frames == frames).all()


def test_pictures_are_made_while_a_film_is_made(engine: Engine, family: Family) -> None:
    kit = Kit.plain(from_pipeline("tiny", tiny.stable_diffusion()))
    long_film = submit_film(engine, family.model, film_request(steps=900))
    wait_until(lambda: long_film.progress > 0)

    painted(engine, kit, request())

    assert not long_film.is_over
    long_film.cancel()


def test_a_film_is_made_while_pictures_are_made(engine: Engine, family: Family) -> None:
    kit = Kit.plain(from_pipeline("tiny", tiny.stable_diffusion()))
    wanted = film_request()
    alone = filmed(engine, family.model, wanted)
    long_picture = submit(engine, kit, request(steps=900))
    wait_until(lambda: long_picture.progress > 0)

    made = filmed(engine, family.model, wanted)

    assert not long_picture.is_over
    assert (made == alone).all()
    long_picture.cancel()


def test_a_cancelled_film_ends_at_its_next_step_and_leaves_nothing_behind(
    engine: Engine, family: Family
) -> None:
    wanted = film_request()
    before = filmed(engine, family.model, wanted)
    doomed = submit_film(engine, family.model, film_request(steps=900, seed=3, width=80))
    wait_until(lambda: doomed.progress > 0)

    doomed.cancel()

    with pytest.raises(Cancelled):
        doomed.result()
    assert doomed.progress < 1
    assert (filmed(engine, family.model, wanted) == before).all()


def test_progress_counts_the_steps(family: Family) -> None:
    told: list[float] = []
    program = film(family.model, film_request(steps=4), told.append)

    with contextlib.suppress(StopIteration), torch.inference_mode():
        asks = next(program)
        while True:
            asks = program.send([ask.answer([ask])[0] for ask in asks])

    assert told == [0.25, 0.5, 0.75, 1.0]


def test_a_film_is_as_fast_as_asked(engine: Engine, family: Family) -> None:
    assert submit_film(engine, family.model, film_request(fps=12)).result()[0].fps == 12


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_scheduler_that_wan_names_is_the_one_that_runs(families: dict[str, Family], name: str) -> None:
    model, sampling = families["wan"].model, Sampling(name, 3, karras=True)

    ran = model.what_runs(sampling)

    scheduler = model.pipeline(sampling).scheduler
    assert type(scheduler).__name__ == ran.scheduler
    assert not scheduler.config.get("use_karras_sigmas")
    assert scheduler.config.get("algorithm_type") == ran.algorithm
    assert ran.scheduler in {*SAMPLERS, "FlowMatchEulerDiscreteScheduler"} - {"EulerDiscreteScheduler"}


def test_a_film_that_is_too_long_is_refused_with_the_limit(
    engine: Engine, families: dict[str, Family]
) -> None:
    too_long = film_request(frames=tiny_video.MOST_FRAMES + 1)

    with pytest.raises(GenerationFailed, match="at most 24 frames: send fewer"):
        filmed(engine, families["animatediff"].model, too_long)


def test_numbers_out_of_range_are_no_film(engine: Engine, folders: dict[str, Path]) -> None:
    model = load_video_model("broken", folders["checkpoint"], FP32, folders["adapter"])
    for network in model.networks:
        if isinstance(network, diffusers.AutoencoderKL):
            network.decoder.conv_out.bias.data.fill_(float("nan"))

    with pytest.raises(GenerationFailed, match="lower guidance_scale"):
        filmed(engine, model, film_request())


def test_requests_do_not_change_the_model(engine: Engine, family: Family) -> None:
    before = replace(film_request(), seed=9)
    first = filmed(engine, family.model, before)
    for scheduler in SAMPLERS:
        filmed(engine, family.model, film_request(scheduler=scheduler, guidance_scale=1.0))

    assert (filmed(engine, family.model, before) == first).all()
