"""The bundled motion adapter: that the demo model films with it, and that the frames hang together.

deploy/demo/README.md has the figures of a longer measurement; floors lie a little below those.
"""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from deploy.demo import prompts
from deploy.demo.judge import Verdict, judge
from deploy.demo.measure import MODEL, share_right
from deploy.demo.measure_motion import CIRCLE, MOTION, Filmer, Frames, restlessness
from tests.support.filming import film_request, submit_film
from tests.support.painting import assert_same, running_engine
from worker.gpu.filming import encode_mp4, load_video_model
from worker.gpu.models.precision import Precision

ASKED = (CIRCLE, *prompts.MAIN[1:6:2])
FRAMES, STEPS = 8, 10
RIGHT_FLOORS = {"colour": 0.95, "background": 0.95, "shape": 0.7}
MOST_RESTLESS = 0.6
"""How far successive frames are from each other, as a share of what pictures of different seeds are."""


@pytest.fixture(scope="module")
def filmer() -> Filmer:
    return Filmer()


@pytest.fixture(scope="module")
def films(filmer: Filmer) -> list[Frames]:
    return [
        filmer.film(prompt.text, seed=seed, frames=FRAMES, steps=STEPS) for seed, prompt in enumerate(ASKED)
    ]


@pytest.fixture(scope="module")
def verdicts(films: list[Frames]) -> list[Verdict]:
    return [judge(Image.fromarray(frame)) for film in films for frame in film]


def test_the_adapter_fits_into_the_repository() -> None:
    assert sum(file.stat().st_size for file in MOTION.rglob("*") if file.is_file()) <= 3_000_000


@pytest.mark.parametrize("field", list(RIGHT_FLOORS))
def test_the_frames_show_what_the_prompt_says(verdicts: list[Verdict], field: str) -> None:
    assert share_right(field, verdicts, ASKED) >= RIGHT_FLOORS[field]


def test_all_frames_of_a_film_show_the_same_shape(verdicts: list[Verdict]) -> None:
    seen = [
        {each.shape for each in verdicts[start : start + FRAMES]} for start in range(0, len(verdicts), FRAMES)
    ]

    assert sum(len(shapes - {None}) <= 1 for shapes in seen) >= len(ASKED) - 1


def test_frames_are_far_nearer_to_each_other_than_pictures_of_different_seeds(
    filmer: Filmer, films: list[Frames]
) -> None:
    stills = [filmer.stills(prompt.text, count=FRAMES, steps=STEPS) for prompt in ASKED]

    restless = np.mean([restlessness(film) for film in films])

    assert restless < MOST_RESTLESS * np.mean([restlessness(each) for each in stills])


def test_the_worker_films_with_it_what_the_stock_pipeline_does(filmer: Filmer, films: list[Frames]) -> None:
    model = load_video_model("demo", Path(MODEL), Precision.choose("cpu", "fp32"), MOTION)
    wanted = film_request(
        prompt=CIRCLE.text,
        negative_prompt=None,
        width=128,
        height=128,
        frames=FRAMES,
        steps=STEPS,
        scheduler="DPMSolverMultistepScheduler",
        guidance_scale=7.5,
        seed=0,
    )

    with running_engine() as engine:
        film = submit_film(engine, model, wanted).result()[0]

    assert_same(film.frames, films[0])
    with av.open(io.BytesIO(encode_mp4(film)), "r") as container:
        played = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert len(played) == FRAMES
    assert {judge(each).colour for each in played} == {"red"}
