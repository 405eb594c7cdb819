"""Makes the video of one job."""

import time
from functools import partial

from shared.jobs import FilmSpec, Outcome
from worker.gpu.filming import FilmRequest, film
from worker.gpu.schedulers import Sampling
from worker.gpu.studio.tools import Made, OnBegin, Tools


def make_film(tools: Tools, spec: FilmSpec, on_begin: OnBegin) -> Made:
    """Blocks until it is made."""
    started = time.monotonic()
    with tools.library.wording(spec) as wording:
        words = wording.prepare(
            spec.prompt,
            spec.negative_prompt or "",
            seed=spec.seed,
            translate=False,
            enhance=spec.enhance_prompt,
        )
    request = FilmRequest(
        prompt=words.prompt,
        negative_prompt=words.negative_prompt or None,
        width=spec.width,
        height=spec.height,
        frames=spec.frames,
        fps=spec.fps,
        sampling=Sampling(spec.scheduler, spec.steps, spec.use_karras_sigmas),
        guidance_scale=spec.guidance_scale,
        seed=spec.seed,
    )
    with tools.library.video_model(spec) as model:
        rendering = tools.engine.submit([partial(film, model, request)])
        on_begin(rendering)
        (made,) = rendering.result()
    outcome = Outcome(generation_time_s=time.monotonic() - started)
    return Made(outcome, film=made, stepped_at=rendering.stepped_at)
