"""Makes the pictures of one job: words, kit, guides, engine, finishing."""

import time
from functools import partial

from shared.jobs import PictureSpec
from worker.gpu.engine import Picture, Pixels, Program
from worker.gpu.finishing.effects import cover
from worker.gpu.flux import FluxKit, paint_flux
from worker.gpu.painting import paint
from worker.gpu.studio.flux import FluxPlan, plan_flux
from worker.gpu.studio.guides import Guides, controls_of, image_prompt_of, in_size, start_of
from worker.gpu.studio.plan import Plan, plan_job
from worker.gpu.studio.tools import Inputs, Made, OnBegin, Tools


def make_pictures(tools: Tools, spec: PictureSpec, inputs: Inputs, on_begin: OnBegin) -> Made:
    """Blocks until all pictures are made."""
    started = time.monotonic()
    with tools.library.wording(spec) as wording:
        words = wording.prepare(
            spec.prompt,
            spec.negative_prompt or "",
            seed=spec.seed,
            translate=spec.multi_lingual,
            enhance=spec.enhance_prompt,
        )
    arrays = in_size(spec, inputs)
    start, controls = start_of(spec, arrays), controls_of(tools, spec, arrays, on_begin)
    with tools.library.kit(spec) as kit:
        plan: Plan | FluxPlan
        programs: list[Program]
        if isinstance(kit, FluxKit):
            plan = flux = plan_flux(spec, kit, start)
            programs = [partial(paint_flux, kit, request) for request in flux.requests]
        else:
            guides = Guides(start, controls, image_prompt_of(spec, inputs, kit))
            plan = sd = plan_job(spec, words, kit, guides)
            programs = [partial(paint, kit, request) for request in sd.requests]
        rendering = tools.engine.submit(programs)
        on_begin(rendering)
        pictures = rendering.result()
    finished = [_finished(picture, spec) for picture in pictures]
    outcome = plan.outcome([picture.is_sensitive for picture in pictures], time.monotonic() - started)
    return Made(outcome, finished, stepped_at=rendering.stepped_at)


def _finished(picture: Picture, spec: PictureSpec) -> Pixels:
    pixels = picture.develop()
    return cover(pixels, spec.safety_checker_type) if picture.is_sensitive else pixels
